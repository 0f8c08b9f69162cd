"""Fill the lines that the scanner skipped: k-space with gaps in; filled k-space and a report on it out.

Each way to fill them is a `Method`, an entry point in the group `raki.methods`; which there are, and what each needs,
is told by `raki.planning`. What is said of planes whose points lie on no lattice, which SPIRiT fills, is
`raki.kspace.scattered`. Slices that were excited at once are taken apart before, by `raki.kspace.separation`; where
they are read back and forth (EPI), `raki.kspace.common_ghost` finds what their navigators don't tell.
"""

from raki.kspace.arrays import complete_kspace
from raki.kspace.caipi import GroupAcs
from raki.kspace.completion import FillReport, complete, complete_slices
from raki.kspace.cross_validation import CrossValidation, SliceChoice
from raki.kspace.explanation import EXPLANATION_PARTS
from raki.kspace.ghosts import GroupGhosts
from raki.kspace.linear_fit import KernelWeights
from raki.kspace.method import Fill, FillSettings, SliceReport, StoredUse, TrainingPoint
from raki.kspace.opposite import OppositeSides
from raki.kspace.sampling import find_sampling
from raki.kspace.scattered import ScatteredFills
from raki.kspace.stored import StoredWeights
from raki.planning import Kernel, Method, Sampling, find_method, methods

__all__ = [
    "EXPLANATION_PARTS",
    "CrossValidation",
    "Fill",
    "FillReport",
    "FillSettings",
    "GroupAcs",
    "GroupGhosts",
    "Kernel",
    "KernelWeights",
    "Method",
    "OppositeSides",
    "Sampling",
    "ScatteredFills",
    "SliceChoice",
    "SliceReport",
    "StoredUse",
    "StoredWeights",
    "TrainingPoint",
    "complete",
    "complete_kspace",
    "complete_slices",
    "find_method",
    "find_sampling",
    "methods",
]
