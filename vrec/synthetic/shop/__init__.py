"""Simulated shoppers of a catalog."""
