"""vrec: a video recommender for shops, built as a Ray application."""

__version__ = "0.1.0"
