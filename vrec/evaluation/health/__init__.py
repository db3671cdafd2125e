"""Alarms for a model that gets worse while it serves."""
