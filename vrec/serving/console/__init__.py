"""Console for people who run the shop: pages at `/console`, rendered on the server."""
