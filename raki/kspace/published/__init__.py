"""Networks as they were published, for comparison."""
