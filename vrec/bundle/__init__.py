"""What serving loads: videos, vectors, neighbours, index, search and ranker that were made together."""
