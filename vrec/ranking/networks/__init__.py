"""Ranking networks, and their heads for clicks, watch time and conversions."""
