"""Encoders from a Clip to unit vectors, one per modality, and their fusion."""
