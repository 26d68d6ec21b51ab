"""Webhooks: events are posted, signed, to programs elsewhere.

A process of its own beside the workers (supervisor.companions), which reads the event stream as
every reader does: mail never waits for it. `consumer` decides, `sender` talks, `kept` remembers.
"""
