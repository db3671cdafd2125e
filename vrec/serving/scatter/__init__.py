"""Lists from a catalog in parts: each hands over the videos that it looked at, and the list is of those."""
