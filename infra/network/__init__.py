"""The private network, and what it reaches of AWS."""
