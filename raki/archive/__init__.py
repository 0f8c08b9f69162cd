"""Unpack what was dropped on the share: a stream, a file or a folder in, the raw files of one scan out.

Archives are hostile until proven otherwise. The content decides what a file is; names decide only which files belong
together. Nothing is written but raw data and its companions, under names of our own.
"""

from raki.archive.dropped import open_local, options_text, unpack
from raki.archive.limits import DEFAULT_LIMITS, Limits
from raki.archive.raw_data import START_BYTES, RawData, companion_of, recognised, refusal
from raki.archive.streams import Readable
from raki.archive.zip import ZIP_MAGIC

__all__ = [
    "DEFAULT_LIMITS",
    "START_BYTES",
    "ZIP_MAGIC",
    "Limits",
    "RawData",
    "Readable",
    "companion_of",
    "open_local",
    "options_text",
    "recognised",
    "refusal",
    "unpack",
]
