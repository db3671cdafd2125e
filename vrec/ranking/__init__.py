"""Rankers: predicted clicks, watch time and conversions of candidates, and reranking."""
