"""Personal data in tables: detectors for one text, and scans of all columns."""
