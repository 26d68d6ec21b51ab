"""Postroom: an outbound mail queue that is durable before it says 250."""

__version__ = "0.1.0"
