"""Creators and streamers in the service: their figures, and whom a shopper may want to follow."""
