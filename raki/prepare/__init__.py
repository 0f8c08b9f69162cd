"""From what was dropped to a prepared scan: unpacked, read, cleaned, whitened, written, all in the sandbox.

Nothing here loads torch: the decompression worker has none.
"""

from raki.prepare.outputs import room_for
from raki.prepare.preparation import prepare, prepare_here, preprocess
from raki.prepare.unpacking import open_within, unpack_within

__all__ = ["open_within", "prepare", "prepare_here", "preprocess", "room_for", "unpack_within"]
