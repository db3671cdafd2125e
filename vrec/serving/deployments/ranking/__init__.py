"""Ranking deployment: recommendations, searches, moments and conversations over one bundle."""
