"""Container inspection and the two video decoders."""
