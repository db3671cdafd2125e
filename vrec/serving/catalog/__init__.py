"""Catalog state while serving: snapshots, changes and uploads."""
