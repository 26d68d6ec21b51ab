"""Layer 8: master and worker processes."""
