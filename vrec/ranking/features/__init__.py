"""What rankers see: the shopper, the moment and the candidates as arrays, made by one function."""
