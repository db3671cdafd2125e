"""Where profiles and events are kept: in a file of SQLite's, or on a Redis server."""
