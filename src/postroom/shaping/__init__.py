"""Layer 2: limits and the gate that admits attempts."""
