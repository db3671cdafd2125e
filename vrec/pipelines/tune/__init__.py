"""`vrec tune`: settings looked for by Ray Tune and Optuna, on a validation part alone."""
