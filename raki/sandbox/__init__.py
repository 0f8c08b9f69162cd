"""Work on files from strangers in processes that can reach nothing: no network, no other file, no more than a share."""

from raki.sandbox.allowance import Allowance, memory_limit
from raki.sandbox.conversation import Source
from raki.sandbox.readers import Readers, contained
from raki.sandbox.walls import WALLS, hide

__all__ = ["WALLS", "Allowance", "Readers", "Source", "contained", "hide", "memory_limit"]
