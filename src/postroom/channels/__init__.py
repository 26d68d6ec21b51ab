"""Layer 1: channels, the operator's named policies for sets of destinations."""
