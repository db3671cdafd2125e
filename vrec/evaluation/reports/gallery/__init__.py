"""What an embedding run found, as one page: videos with their look-alikes, agreement, a map, failures."""
