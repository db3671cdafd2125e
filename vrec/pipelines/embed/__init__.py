"""Embed a catalog of videos."""
