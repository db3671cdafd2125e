"""Moments of videos in the service: found by words, or by an example."""
