"""The networks that are trained: from the features of a video to one unit vector."""
