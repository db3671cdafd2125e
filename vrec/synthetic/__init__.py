"""Drawn product clips and simulated shoppers, for the demo and for tests."""
