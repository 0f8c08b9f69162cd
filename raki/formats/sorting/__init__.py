"""What acquired lines mean, whatever the format: which image they are of, where it lies, which files are one scan."""
