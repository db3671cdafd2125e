"""Vectors of the moments of videos."""
