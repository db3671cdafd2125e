"""Command line of vrec: one module per command."""
