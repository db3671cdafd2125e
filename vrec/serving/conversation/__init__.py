"""The assistant over a bundle in service."""
