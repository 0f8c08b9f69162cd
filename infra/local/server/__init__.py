"""One server on 127.0.0.1: a router in front of moto, and what of moto is replaced."""
