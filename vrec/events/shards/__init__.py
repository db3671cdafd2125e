"""EVENTS as Parquet shards by shopper, with a manifest of what they were made from."""
