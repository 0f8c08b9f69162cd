"""Whose scan it is, taken out and kept apart: a raw file in, a copy under a token out, the token map on site.

`raki.identity.deidentification` takes it out of a file, `raki.identity.header` out of a header; `raki.identity.person`
is what is known of somebody, `raki.identity.tokens` keeps the map, `raki.identity.uids` gives images their UIDs.
Nothing is loaded here: who writes an image's names has no need of what reads and unpacks raw files.
"""
