"""Health of the model in service: its predictions for a sample of lists, compared with the log."""
