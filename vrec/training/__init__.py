"""What the training of every network of vrec has in common: settings, device, randomness and epochs."""
