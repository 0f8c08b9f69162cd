"""Formats that hold k-space as one array: fastMRI, BART, NumPy."""
