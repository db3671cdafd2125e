"""Federated optimization: clients' updates, what a server makes of their sums, and shards for experiments."""
