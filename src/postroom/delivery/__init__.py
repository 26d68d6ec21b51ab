"""Layer 3: one attempt, from a destination to an outcome per recipient."""
