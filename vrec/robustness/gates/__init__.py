"""Data gates: expectations of tables, checked before fits and bundles."""
