"""Layer 1: events and the status board."""
