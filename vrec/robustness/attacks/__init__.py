"""Attacks on recommenders, as tables of the events of fake shoppers."""
