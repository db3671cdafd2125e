"""Network ranker with differential privacy of each shopper."""
