"""Contracts: errors, Arrow schemas, protocols, and tables on disk. Imports nothing else of vrec."""
