"""Defences of fits: weights of shoppers, clipping, detection of promoted videos, robust co-occurrence."""
