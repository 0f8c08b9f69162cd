"""Fill the lines that the scanner skipped: k-space with gaps in, filled k-space and an account of it out."""
