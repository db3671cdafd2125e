"""Simulated shoppers of a catalogue."""
