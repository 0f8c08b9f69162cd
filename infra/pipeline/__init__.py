"""What works on the data, stage by stage: decompression, reconstruction, delivery."""
