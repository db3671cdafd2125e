"""Smaller and faster forms of a trained network: int8, fewer channels, a student of it, and their files."""
