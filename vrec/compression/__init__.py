"""Compression of a trained network: int8, fewer channels, distillation, and the files of the results."""
