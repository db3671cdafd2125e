"""Profile and event store in Redis."""
