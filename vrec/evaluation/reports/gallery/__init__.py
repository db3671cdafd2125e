"""Gallery page of an embedding run: map, category agreement, nearest neighbors, duplicates, failures."""
