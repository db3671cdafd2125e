"""The service's HTTP side: what comes in is bounded, what goes out is typed, errors say what to do."""
