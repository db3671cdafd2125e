"""Off-policy estimates from logged recommendations."""
