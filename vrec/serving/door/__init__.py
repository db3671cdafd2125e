"""Service behind HTTP whose shoppers are pseudonyms."""
