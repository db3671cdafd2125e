"""Embed a catalogue of videos."""
