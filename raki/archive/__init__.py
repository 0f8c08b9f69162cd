"""Unpack what was dropped on the share: a stream, a file or a folder in, the raw files of one scan out.

Archives are hostile until proven otherwise. The content decides what a file is; names decide only which files belong
together. Nothing is written but raw data and its companions, under names of our own.
"""

from raki.archive.dropped import open_local, unpack
from raki.archive.limits import Limits
from raki.archive.raw_data import START_BYTES, RawData, refusal
from raki.archive.streams import Readable

__all__ = ["START_BYTES", "Limits", "RawData", "Readable", "open_local", "refusal", "unpack"]
