"""Fingerprints of videos, and near-duplicate detection by them."""
