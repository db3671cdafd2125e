"""Bench of attacks on recommenders by fake shoppers, and of the defences of fits."""
