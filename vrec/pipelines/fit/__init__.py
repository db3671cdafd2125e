"""Fit recommenders and recommend in batches."""
