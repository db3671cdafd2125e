"""Anonymous tables: k-anonymity over shoppers, l-diversity, and the risk of re-identification."""
