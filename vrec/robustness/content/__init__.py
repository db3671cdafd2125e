"""Attacks on the content of videos, and defences against them."""
