"""Store of profiles and events on a Redis server."""
