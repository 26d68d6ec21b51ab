"""Layer 2: the queue of another mail system, read into values; nothing there is changed."""
