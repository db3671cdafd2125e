"""Budgets of callers in CPU time, and what gives way under load."""
