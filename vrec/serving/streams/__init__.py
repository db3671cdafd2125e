"""Live streams: their states, those that are live at a moment, and where they stand in the catalog."""
