"""Models of live streams: which of those that are live at an instant a shopper will watch."""
