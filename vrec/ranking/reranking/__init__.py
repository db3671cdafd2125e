"""Reranking: utility, eligibility rules, diversity, exploration and reasons."""
