"""Models that can be named."""
