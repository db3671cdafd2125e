"""Catalog in shards: deployments that hold a part each, and calls to them."""
