"""Consents of shoppers: for which purposes what they do may be used."""
