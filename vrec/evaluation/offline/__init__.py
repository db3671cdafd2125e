"""Offline evaluation of recommenders on held-out interactions."""
