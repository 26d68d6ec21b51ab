"""Layer 6: from TOML to frozen policy objects."""
