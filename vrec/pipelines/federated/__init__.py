"""Federated fits: clients that hold their events, and a coordinator that sees sums."""
