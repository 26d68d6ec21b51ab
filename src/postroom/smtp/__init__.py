"""Layer 1: the SMTP protocol, both sides, without input or output."""
