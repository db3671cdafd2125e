"""Evaluation of rankers on held-out impressions."""
