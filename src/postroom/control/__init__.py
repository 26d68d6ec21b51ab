"""Layer 7: one table of commands over a Unix socket."""
