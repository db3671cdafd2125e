"""Profiles of users and videos, built from their events."""
