"""Recommendation of creators: whom to follow, by what shoppers watch and by their friends."""
