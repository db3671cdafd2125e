"""Sums of vectors of several clients, of which the coordinator sees only the sum (Bonawitz et al. 2017)."""
