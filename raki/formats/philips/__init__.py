"""Philips's exported complex data: a `.list` that describes vectors, and a `.data` that holds them."""
