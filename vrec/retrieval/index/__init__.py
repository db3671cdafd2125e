"""Approximate nearest-neighbor index over unit vectors."""
