"""Compare recommenders on held-out interactions."""
