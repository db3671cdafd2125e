"""`vrec shard`: files of events to a sharded table."""
