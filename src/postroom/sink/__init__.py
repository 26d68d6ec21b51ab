"""Layer 5: a destination for tests that plays any reply; not part of the server."""
