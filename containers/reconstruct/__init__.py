"""The reconstruction job: prepared scan in, images out."""
