"""Layer 2: the durable directories and the stores that keep messages in them."""
