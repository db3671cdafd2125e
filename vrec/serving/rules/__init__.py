"""Rules of the shop: pins, boosts, bans and campaigns, changed while the service runs."""
