"""Whose scan it is, taken out and kept apart: a raw file in, a copy under a token out, the token map on site.

`raki.identity.tokens` keeps the map.
"""

from raki.identity.deidentification import deidentify, read_identity
from raki.identity.header import Policy, identity_in_header, scrub_header, token_in_header
from raki.identity.person import DICOM_KEYWORDS, Identity, derived_uid

__all__ = [
    "DICOM_KEYWORDS",
    "Identity",
    "Policy",
    "deidentify",
    "derived_uid",
    "identity_in_header",
    "read_identity",
    "scrub_header",
    "token_in_header",
]
