"""From the files of a raw scan to a prepared one: read in a process of their own, cleaned, whitened, written.

Nothing here loads torch: the decompression worker has none.
"""

from raki.prepare.containment import Allowance, contained
from raki.prepare.preparation import prepare, prepare_here, preprocess
from raki.prepare.readers import Readers

__all__ = ["Allowance", "Readers", "contained", "prepare", "prepare_here", "preprocess"]
