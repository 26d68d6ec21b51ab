"""Groups of queues: which mail belongs to which, and which of its queues takes a message."""
