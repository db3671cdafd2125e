"""What shoppers did: events, the interactions made of them, and how they are split for evaluation."""
