"""Opening a file and reading its frames: what the container says, and the two decoders behind one seam."""
