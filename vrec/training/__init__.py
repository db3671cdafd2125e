"""Shared parts of the training of all networks: settings, device, randomness and epochs."""
