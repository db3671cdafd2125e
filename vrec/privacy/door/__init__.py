"""Rules for personal data on entry: pseudonyms of ids, coarser fields, texts without contact data."""
