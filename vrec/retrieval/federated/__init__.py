"""Recommenders fitted by sums over clients: what each client adds, and what becomes of the sums."""
