"""Batches: lists for many shoppers, as a Parquet file."""
