"""Optional language model: it may parse and phrase what rules check."""
