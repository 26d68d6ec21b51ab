"""Layer 9: the HTTP API as one table of routes with their types; it knows no HTTP library."""
