"""Layer 0: values, clock and errors that every other package may use."""
