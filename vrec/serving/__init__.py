"""The graph behind HTTP: encoder, profiles and ranking as Ray Serve deployments, and the page."""
