"""Differential privacy of fits: mechanisms, an accountant, a ledger of what was spent, and their audit."""
