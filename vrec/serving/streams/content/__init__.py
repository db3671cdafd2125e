"""Content of live streams while they run: what each shows now, embedded again and again."""
