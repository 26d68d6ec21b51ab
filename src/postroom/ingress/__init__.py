"""Layer 5: listeners and sessions."""
