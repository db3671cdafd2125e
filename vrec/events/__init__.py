"""Shopper events: reading, weighting into interactions, train/test splits and public data sets."""
