"""Slices that were excited at once and read back and forth (EPI): the ghost that each of them has in their sum.

Sums and single-band reference are corrected by their own navigators, as any EPI is. Those of a sum are a sum, and show
one phase for all of its slices; the reference's show each slice's own. What the navigators of a group's slices would
show if they were summed is what the sum's correction removes, so the rest of each slice's phase is known, and a drift
that all have in common leaves with it.

Setsompop et al. 2012, Magn Reson Med 67:1210-1224, doi:10.1002/mrm.23097.
"""

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import Acquisitions
from raki.formats.epi.ghost import nyquist_phase
from raki.formats.epi.ramps import RampSampling
from raki.formats.epi.trains import EchoTrains
from raki.formats.epi.unmarked import with_reversals_marked
from raki.formats.sorting.lines import order_slices
from raki.formats.sorting.marks import NOT_IMAGE, Mask, has_flag
from raki.scan import NyquistPhase, SliceGhosts
from raki.scan.arrays import LineMask

ABOUT_GHOSTS = (
    "They were read back and forth (EPI): each has a ghost of its own in their sum, as the navigators of the "
    "single-band reference show it, and is taken out and corrected in one step, by kernels for either direction of the "
    "lines."
)


def navigators_before(heads: np.ndarray, navigates: Mask, is_sum: Mask, is_reference: Mask) -> Mask:
    """Which navigators are the reference's: by encoding space, or, where that is one, by the lines that follow them."""
    spaces = heads["encoding_space_ref"]
    of_sums, of_reference = np.unique(spaces[is_sum]), np.unique(spaces[is_reference])
    if not np.isin(of_sums, of_reference).any():
        return navigates & np.isin(spaces, of_reference)
    lines = np.flatnonzero(is_sum | is_reference)
    next_line = lines[np.minimum(np.searchsorted(lines, np.arange(len(heads))), len(lines) - 1)]
    return navigates & is_reference[next_line]


def read_back_and_forth(sums: Acquisitions, reference: Acquisitions, header: xsd.ismrmrdHeader) -> bool:
    """Whether sums and reference are echo trains whose lines were read in both directions.

    Raises:
        UnsupportedScan: one of them is and the other isn't; the lines are, and no mark says which; or navigators are
            missing, of the sums or the reference.
    """
    ours, theirs = _directions(sums), _directions(reference)
    if ours != theirs:
        raise UnsupportedScan(
            f"slices excited at once were read {_in_words(ours)}, their single-band reference {_in_words(theirs)}, so "
            "that lines in both directions (EPI) don't have the same ghosts in both; raki needs them read alike: take "
            "the reference that belongs to the scan"
        )
    if len(ours) > 1:
        _require_navigators(sums, "slices excited at once")
        _require_navigators(reference, "single-band references of slices excited at once")
        return True
    for part in (sums, reference):
        if with_reversals_marked(part, _encoding(part, header))[1]:
            raise UnsupportedScan(
                "the scan excites several slices at once and reads lines in both directions (EPI), and the file doesn't"
                " mark which were read backward; raki needs the marks to tell the ghost of each slice: convert the scan"
                " with its flags (ACQ_IS_REVERSE)"
            )
    return False


def ghosts_of(
    sums: Acquisitions,
    reference: Acquisitions,
    header: xsd.ismrmrdHeader,
    *,
    sampled: LineMask,
    slices: tuple[tuple[int, ...], ...],
) -> SliceGhosts:
    """The ghosts of the slices in their sums.

    Args:
        sampled: the sums' lines, in sorted k-space.
        slices: of each group, by their numbers in spatial order.

    Raises:
        UnsupportedScan: lines that don't alternate.
        DamagedScan: the navigators of a group's slices differ in number or direction.
    """
    of_sums, of_slices = (
        EchoTrains(part, RampSampling.from_header(_encoding(part, header))) for part in (sums, reference)
    )
    counters = _counters(reference)
    shown = [_phases(of_slices, [counters[number] for number in group]) for group in slices]
    measured = [_phases(of_sums, [counter])[1] for counter in _counters(sums)]
    return SliceGhosts(
        phases=tuple(tuple(phase.beyond(together) for phase in alone) for alone, together in shown),
        common=tuple(phase.beyond(together) for phase, (_, together) in zip(measured, shown, strict=True)),
        reversed_lines=_reversed_lines(sums, sampled),
    )


def _counters(part: Acquisitions) -> list[int]:
    """How slices, or sums, are counted, in spatial order."""
    lines = part.heads[_lines(part)]
    counters: list[int] = lines["idx"]["slice"][order_slices(lines)[1]].tolist()
    return counters


def _phases(trains: EchoTrains, counters: list[int]) -> tuple[list[NyquistPhase], NyquistPhase]:
    """What the first navigators of each slice show, and what they would show if they were summed."""
    found = [each for counter in counters if (each := trains.navigators_of(counter))]
    (first, is_reversed), *others = found
    if any(lines.shape != first.shape or (turned != is_reversed).any() for lines, turned in others):
        raise DamagedScan(
            f"the navigators of {len(found)} slices that were excited at once differ in number or direction in their "
            "single-band reference; raki needs them alike: export the scan again"
        )
    together = nyquist_phase(np.sum([lines for lines, _ in found], axis=0), is_reversed)
    return [nyquist_phase(lines, turned) for lines, turned in found], together


def _reversed_lines(sums: Acquisitions, sampled: LineMask) -> tuple[bool, ...]:
    """Of all lines of sorted k-space, which were read backward in the sums: every second of the acquired ones."""
    lines = sums.heads[_lines(sums)]
    steps, which = np.unique(lines["idx"]["kspace_encode_step_1"], return_inverse=True)
    backward = has_flag(lines, ismrmrd.ACQ_IS_REVERSE)
    share = np.bincount(which.ravel(), backward) / np.bincount(which.ravel())
    turned = share == 1
    places = np.flatnonzero(sampled)
    if len(steps) != len(places) or ((share > 0) & ~turned).any() or (turned[1:] == turned[:-1]).any():
        raise UnsupportedScan(
            f"the scan excites several slices at once and reads {len(steps)} lines back and forth (EPI), which don't "
            "alternate from each to the next acquired one, the same in all groups and frames (several shots, or lines "
            "that are missing); raki takes apart sums of one train: split the scan"
        )
    marks = np.zeros(len(sampled), bool)
    marks[places] = turned
    return tuple(marks.tolist())


def _require_navigators(part: Acquisitions, whose: str) -> None:
    heads = part.heads
    lines, navigates = _lines(part), has_flag(heads, ismrmrd.ACQ_IS_PHASECORR_DATA)
    slices = heads["idx"]["slice"]
    n_without = len(np.setdiff1d(slices[lines], slices[navigates]))
    if n_without:
        n_all = len(np.unique(slices[lines]))
        raise UnsupportedScan(
            f"{whose} were read in both directions (EPI), and {n_without} of {n_all} have no navigators "
            "(phase-correction lines), which tell each slice's ghost; raki needs them before the lines of the sums and "
            "of the single-band reference: export the scan with them"
        )


def _directions(part: Acquisitions) -> frozenset[bool]:
    """In which the lines were read: backward, or not."""
    return frozenset(has_flag(part.heads[_lines(part)], ismrmrd.ACQ_IS_REVERSE).tolist())


def _in_words(directions: frozenset[bool]) -> str:
    if len(directions) > 1:
        return "back and forth"
    return "backward" if True in directions else "forward"


def _lines(part: Acquisitions) -> Mask:
    return ~has_flag(part.heads, *NOT_IMAGE)


def _encoding(part: Acquisitions, header: xsd.ismrmrdHeader) -> xsd.encodingType:
    return header.encoding[int(part.heads["encoding_space_ref"][_lines(part)][0])]
