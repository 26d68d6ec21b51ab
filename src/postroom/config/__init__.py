"""Layer 6: from TOML to frozen policy objects."""

from postroom.config.loader import Loaded, find_file, load
from postroom.config.model import Config

__all__ = ["Config", "Loaded", "find_file", "load"]
