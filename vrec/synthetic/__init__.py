"""Synthetic product videos and simulated shoppers, for the demo and for tests."""
