"""The deployments of the graph as plain classes: they know of Ray only the handles that they are given."""
