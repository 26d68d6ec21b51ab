"""Layer 10: the console process: HTTP in front of the API, and the web pages."""
