"""Evaluation of recommenders and rankers, and report pages. Plain tables in; no Ray."""
