"""Robustness against abnormal data and attacks on recommenders."""
