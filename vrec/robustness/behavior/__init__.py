"""Abnormal behavior of shoppers: detection in logs, and weights of events as they come."""
