"""What the heads and the header of raw files say, read in a process of its own."""
