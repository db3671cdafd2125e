"""Decisions of a nightly loop: promotion, leak check, live watch. NumPy only, without Ray and files."""
