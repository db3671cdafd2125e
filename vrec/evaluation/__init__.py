"""How good the vectors are, and a page that shows it. Knows nothing of Ray: it is given plain tables."""
