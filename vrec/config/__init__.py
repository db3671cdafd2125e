"""Settings of every command, read from YAML and the command line."""
