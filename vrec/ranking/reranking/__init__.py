"""What a ranked list becomes: its worth, the rules it keeps, its variety, its trials and its reasons."""
