"""Train rankers and encoders."""
