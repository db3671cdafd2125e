"""Trained networks from the features of a video to one unit vector."""
