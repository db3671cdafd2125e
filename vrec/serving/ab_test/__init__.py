"""A/B test of a shop: changes while the service runs, and its figures over restarts."""
