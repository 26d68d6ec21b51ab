"""Layer 9: the commands for people; they talk to the control client only."""
