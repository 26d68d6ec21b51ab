"""Layer 2: from a recipient's domain to a channel, a route and hosts to try."""
