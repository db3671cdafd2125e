"""Nightly loop: export, gates, fit, train, bundle, test against the bundle in service, promote, watch."""
