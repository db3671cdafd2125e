"""Profile and event store in an SQLite file."""
