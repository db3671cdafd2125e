"""From a Clip to unit vectors: one encoder a modality, and their fusion."""
