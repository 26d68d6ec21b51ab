"""`postroom bench`: a server of its own, a load, a destination, and what came of it."""
