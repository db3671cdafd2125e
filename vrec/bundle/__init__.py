"""Bundles for serving: videos, vectors, neighbors, index, text search and ranker, made together."""
