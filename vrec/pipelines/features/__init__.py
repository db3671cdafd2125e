"""Compute and store the frozen features that encoders learn from."""
