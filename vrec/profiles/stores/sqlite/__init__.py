"""Store of profiles and events in a SQLite file."""
