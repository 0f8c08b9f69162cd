"""Which vectors of a `.list` are one acquisition: those of all coils that agree in what identifies them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from raki.errors import DamagedScan
from raki.formats.philips.listing import Listing

SAMPLE_BYTES = 8
IDENTIFYING = (
    *("mix", "dyn", "card", "echo", "loca", "extr1", "extr2"),
    *("ky", "kz", "aver", "sign", "rf", "grad"),
)
"""Of lines, beside the coil; by the file's own table."""

Groups = Int[np.ndarray, "acquisition coil"]
Channels = Int[np.ndarray, " coil"]


@dataclass(frozen=True)
class Vectors:
    """The rows of acquisitions in the order of the file, one for each coil, coils in the order of their numbers."""

    rows: Groups
    channels: Channels


def image_vectors(listing: Listing, rows: Int[np.ndarray, " row"]) -> Vectors:
    """The lines of k-space among some rows.

    Raises:
        DamagedScan: a line lacks a coil, or has one twice.
    """
    codes = _numbered(listing, rows, IDENTIFYING)
    coils = listing.columns["chan"][rows]
    order = np.lexsort((coils, codes))
    codes, coils = codes[order], coils[order]
    twice = np.flatnonzero((np.diff(codes) == 0) & (np.diff(coils) == 0))
    if len(twice):
        raise DamagedScan(
            f"{_named(listing, int(rows[order[twice[0]]]))} of coil {coils[twice[0]]} is listed twice, and "
            f"{len(twice)} such in all; raki needs each vector once: export the scan again"
        )
    channels = np.unique(coils)
    n_lines = int(codes.max()) + 1
    if len(rows) != n_lines * len(channels):
        of_each = np.bincount(codes)
        short = int(np.argmax(of_each < len(channels)))
        raise DamagedScan(
            f"{_named(listing, int(rows[order[np.searchsorted(codes, short)]]))} has {of_each[short]} coils, others "
            f"have {len(channels)}; raki needs the same coils of every line: export the scan again"
        )
    found = rows[order].reshape(n_lines, len(channels))
    by_place = np.argsort(listing.columns["offset"][found].min(axis=1), kind="stable")
    return Vectors(found[by_place], channels)


def noise_vectors(listing: Listing, channels: Channels) -> Groups | None:
    """Vectors of noise from all of the image's coils, as often as they were recorded; None without such.

    What identifies them is location and coil alone, so they are put together in the order of the file.
    """
    rows = np.flatnonzero(listing.types == b"NOI")
    groups = []
    for location in np.unique(listing.columns["loca"][rows]):
        here = rows[listing.columns["loca"][rows] == location]
        of_coils = [here[listing.columns["chan"][here] == channel] for channel in channels]
        n_times = min(map(len, of_coils))
        groups += [np.array([of_coil[time] for of_coil in of_coils]) for time in range(n_times)]
    sizes = listing.columns["size"]
    alike = [group for group in groups if len(np.unique(sizes[group])) == 1]
    return np.stack(alike) if alike else None


def require_within(listing: Listing, n_bytes: int) -> None:
    """Raises DamagedScan unless all vectors are whole samples, and lie in a `.data` of this length, each by itself."""
    sizes, offsets = listing.columns["size"], listing.columns["offset"]
    broken = np.flatnonzero((sizes < SAMPLE_BYTES) | (sizes % SAMPLE_BYTES != 0))
    if len(broken):
        raise DamagedScan(
            f"{_named(listing, int(broken[0]))} has {sizes[broken[0]]} bytes; raki needs samples of {SAMPLE_BYTES} "
            "bytes, one at least: copy the .list again"
        )
    beyond = np.flatnonzero(offsets + sizes > n_bytes)
    if len(beyond):
        raise DamagedScan(
            f"the .data has {n_bytes} bytes, and {len(beyond)} of {len(sizes)} vectors lie beyond them, up to byte "
            f"{int((offsets + sizes).max())}; raki needs both files whole and of one export: copy them again"
        )
    order = np.argsort(offsets, kind="stable")
    on_others = np.flatnonzero((offsets + sizes)[order][:-1] > offsets[order][1:])
    if len(on_others):
        raise DamagedScan(
            f"{_named(listing, int(order[on_others[0] + 1]))} begins within another vector; raki needs each in a "
            "place of its own: copy the .list again"
        )


def _numbered(listing: Listing, rows: Int[np.ndarray, " row"], names: tuple[str, ...]) -> Int[np.ndarray, " row"]:
    """One number for each combination of columns."""
    numbers = np.zeros(len(rows), np.int64)
    for name in names:
        values = listing.columns[name][rows]
        codes = numbers * (int(np.ptp(values)) + 1) + (values - values.min())
        numbers = np.unique(codes, return_inverse=True)[1].ravel()
    return numbers


def sets_of(listing: Listing, rows: Int[np.ndarray, " row"]) -> Int[np.ndarray, " row"]:
    """A number for each combination of mixed sequence and extra attributes, whose meaning depends on the scan."""
    return _numbered(listing, rows, ("mix", "extr1", "extr2"))


def _named(listing: Listing, row: int) -> str:
    kind = listing.types[row].decode()
    return f"the vector {kind} of ky {listing.columns['ky'][row]}, kz {listing.columns['kz'][row]}"
