"""Simulated live streams and their regulars."""
