"""The order of the candidates: what a shopper will click, watch and buy, and what to do about it."""
