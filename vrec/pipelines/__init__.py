"""Whole jobs on Ray Data, Tune and Train. Thin: what they compute lives in the layers below."""
