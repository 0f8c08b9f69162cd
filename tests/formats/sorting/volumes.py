"""Simulated 3-D scans, and what is changed in them."""

from copy import deepcopy

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.formats.acquisitions import flag_bits
from raki.scan.header import parse_header
from tests.formats.sorting.recordings import InMemory

N, PARTITIONS, COILS = 32, 12, 4
NO_NOISE = {"n_partitions": PARTITIONS, "n_coils": COILS, "matrix": N, "noise_level": 0.0}
CALIBRATION = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
REVERSE, NAVIGATOR = (flag_bits(flag) for flag in (ismrmrd.ACQ_IS_REVERSE, ismrmrd.ACQ_IS_PHASECORR_DATA))
BOTH = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
SLABS = {"acceleration": (2, 1), "n_acs": 8, "n_slabs": 2, "overlap": 2}


def changed(scan, *, heads=None, encoding=None, kept=None):
    """The same with other heads, another header, or some of the acquisitions."""
    ours, header = scan.heads.copy(), deepcopy(parse_header(scan.header_xml))
    if heads:
        heads(ours)
    if encoding:
        encoding(header.encoding[0])
    which = np.arange(len(ours)) if kept is None else np.flatnonzero(kept(ours))
    return InMemory(xsd.ToXML(header), ours[which], [scan.lines[n] for n in which])
