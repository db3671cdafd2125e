"""Trending videos and popular searches, counted from the store's logs as they grow."""
