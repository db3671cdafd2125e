"""Bytes to clips: sources, decoding, sound, sampling, quality."""
