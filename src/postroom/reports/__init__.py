"""Layer 2: delivery status notifications."""
