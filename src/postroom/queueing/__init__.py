"""Layer 3: which mail is tried next; pure decisions in virtual time."""
