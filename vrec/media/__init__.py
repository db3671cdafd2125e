"""Video input: sources, decoding, audio, frame sampling and quality checks."""
