"""Candidates: from interactions and content to the videos worth ranking for each shopper."""
