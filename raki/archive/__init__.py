"""Takes the files of one scan out of what was dropped on the share: plain files, or archives, compressed or not.

Archives are hostile until proven otherwise. The content decides what a file is; names decide only which files belong
together. Nothing is written but raw data and its companions, under names of our own.
"""

from raki.archive.dropped import open_local, unpack
from raki.archive.limits import Limits
from raki.archive.streams import Readable

__all__ = ["Limits", "Readable", "open_local", "unpack"]
