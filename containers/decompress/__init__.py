"""The decompression worker: raw scan in, prepared scan out."""
