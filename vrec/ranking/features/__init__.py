"""Ranking features: users, request contexts and candidates as arrays, built by one function."""
