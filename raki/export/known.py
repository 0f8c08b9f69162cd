"""What all writers ask of a scan: the order of its frames, its dwell times, its header."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from ismrmrd import xsd

from raki.errors import UnsupportedScan
from raki.formats.arrays.header import bare_header
from raki.scan import Scan
from raki.scan.header import parse_header

# A sorted scan knows the ratio of its dwell times alone: the noise scan's is written as this one.
NOISE_DWELL_TIME_S = 10e-6


def frame_grid(scan: Scan, counters: Sequence[str]) -> tuple[tuple[int, ...], list[int]]:
    """How many values each counter has, and the indices of the frames in the order in which the last counts fastest.

    Raises:
        UnsupportedScan: the frames aren't all combinations of these counters, so that an array of them has gaps.
    """
    places = [tuple(getattr(frame, name) for name in counters) for frame in scan.frames]
    n_each = tuple(len(set(values)) for values in zip(*places, strict=True))
    if len(set(places)) < len(places) or prod(n_each) != len(places):
        raise UnsupportedScan(
            f"the scan has {len(places)} frames, {' x '.join(map(str, n_each))} by {', '.join(counters)}; an array "
            "needs one for each combination: write ISMRMRD, which names each line's frame"
        )
    return n_each, sorted(range(len(places)), key=places.__getitem__)


def dwell_times_s(scan: Scan) -> tuple[float, float]:
    """Of image and noise, with the scan's ratio; zero, unknown, where they don't matter."""
    if scan.noise is None or scan.noise_dwell_ratio == 1.0:
        return 0.0, 0.0
    return scan.noise_dwell_ratio * NOISE_DWELL_TIME_S, NOISE_DWELL_TIME_S


def known_header(scan: Scan) -> xsd.ismrmrdHeader:
    """The scan's header. In whitened k-space the receiver's bandwidth is reckoned with already."""
    header = parse_header(scan.header_xml) if scan.header_xml else bare_header()
    if scan.prewhitened and header.acquisitionSystemInformation:
        system = replace(header.acquisitionSystemInformation, relativeReceiverNoiseBandwidth=1.0)
        header = replace(header, acquisitionSystemInformation=system)
    return header
