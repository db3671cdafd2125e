"""Compress the frame encoder."""
