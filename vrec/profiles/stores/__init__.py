"""Stores of profiles and events, in a SQLite file or on a Redis server."""
