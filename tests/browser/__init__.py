"""The web pages in a real Chromium, against a real server and real sinks."""
