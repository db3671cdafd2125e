"""Days of a simulated shop, and faults planted in its tables."""
