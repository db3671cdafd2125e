"""Recommendation engine: candidates, eligibility, fusion, ranking and search."""
