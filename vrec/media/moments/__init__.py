"""Moments of a video: what it shows, sounds and says, piece by piece."""
