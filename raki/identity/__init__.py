"""Whose scan it is, taken out and kept apart: a raw file in, a copy under a token out, the token map on site.

`raki.identity.header` cleans the header that goes on with a prepared scan; `raki.identity.tokens` keeps the map.
"""

from raki.identity.deidentification import deidentify, read_identity
from raki.identity.person import Identity

__all__ = ["Identity", "deidentify", "read_identity"]
