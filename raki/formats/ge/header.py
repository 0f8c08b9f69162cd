"""The header of a GE P-file: is it sound, and does it describe a scan that raki reads?"""

from pathlib import Path

import numpy as np

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.ge.fields import N_TABLE_SLICES, REVISIONS, SLICE_TABLE_OFFSET, Revision

LOGO = b"GE_MED_NMR"
LOGO_OFFSETS = (34, 110)
"""Up to revision 25 or so, and since."""

CHOPPED_IN_SEQUENCE = 0x1
"""Of `data_collect_type`: the signs of alternate lines are right already."""
HAS_REFERENCE_LINES = 0x20000
"""Of `data_collect_type1`: the last `echo_train_length` lines are not phase-encoded (fast spin echo)."""

# Bits that change nothing about where lines belong: chopping, gradient echo; blank rows at the ends, reference lines.
KNOWN_BITS = {"data_collect_type": 0x9, "data_collect_type1": 0x30000}


def looks_like_pfile(start: bytes) -> bool:
    """Whether a file that begins with these bytes has GE's mark and a revision, whichever it is."""
    has_logo = any(start[offset : offset + len(LOGO)] == LOGO for offset in LOGO_OFFSETS)
    # Before revision 11 the machines were big-endian.
    return has_logo and any(5 < number < 100 for number in _numbers(start))


def read_header(path: Path) -> tuple[Revision, np.void, np.ndarray]:
    """The revision, the header's fields by the names in `raki.formats.ge.fields`, and the slices in the order of space.

    Raises:
        UnsupportedScan: another revision, or a kind of scan that could not be tested.
        DamagedScan: a header cut short, sizes that nothing can have, or another size of file than announced.
    """
    with path.open("rb") as file:
        start = file.read(4)
        revision = _revision(start)
        content = start + file.read(revision.n_header_bytes - 4)
    if len(content) < revision.n_header_bytes:
        raise DamagedScan(
            f"the header ends after {len(content)} of {revision.n_header_bytes} bytes; raki needs a complete file: "
            "copy the scan again"
        )
    fields = np.frombuffer(content, revision.fields)[0]
    _require_sound(fields, revision)
    _require_supported(fields)
    _require_size(fields, revision, path.stat().st_size)
    slices = np.frombuffer(content, revision.slice_fields, int(fields["n_slices"]), SLICE_TABLE_OFFSET)
    if sorted(slices["stored"].tolist()) != list(range(1, len(slices) + 1)):
        raise DamagedScan(
            f"the table of slices doesn't name each of the {len(slices)} slices once; raki needs it to put them in "
            "order: copy or export the scan again"
        )
    return revision, fields, slices


def n_coils(fields: np.void) -> int:
    """Receivers that were on; they follow each other."""
    first, last = fields["receivers"][0].tolist()
    return int(last - first + 1)


def n_reference_lines(fields: np.void) -> int:
    """Frames at the end of every slice that were recorded without phase-encoding, one of each echo of the train."""
    return int(fields["echo_train_length"]) if fields["data_collect_type1"] & HAS_REFERENCE_LINES else 0


def n_lines(fields: np.void) -> int:
    """Phase-encode lines of every slice."""
    return int(fields["n_frames"]) - n_reference_lines(fields)


def _numbers(start: bytes) -> tuple[float, float]:
    """The revision in either byte order."""
    first = start[:4].ljust(4, b"\0")
    return float(np.frombuffer(first, "<f4")[0]), float(np.frombuffer(first, ">f4")[0])


def _revision(start: bytes) -> Revision:
    little, big = _numbers(start)
    for revision in REVISIONS:
        if abs(little - revision.number) < 5e-4:
            return revision
    read = " and ".join(f"{revision.number:.3f}" for revision in REVISIONS)
    found = little if 5 < little < 100 else big
    raise UnsupportedScan(
        f"this is a GE P-file of revision {found:.3f}; raki reads the revisions {read}: convert it with ge_to_ismrmrd"
    )


def _require_sound(fields: np.void, revision: Revision) -> None:
    first, last = fields["receivers"][0].tolist()
    wrong = {
        f"data from byte {fields['data_offset']} on": fields["data_offset"] != revision.n_header_bytes,
        f"samples of {fields['point_size']} bytes": fields["point_size"] not in (2, 4),
        f"{fields['n_slices']} slices": not 1 <= fields["n_slices"] <= N_TABLE_SLICES,
        f"{fields['n_frames']} lines": fields["n_frames"] < 1 or n_lines(fields) < 1,
        f"{n_reference_lines(fields)} reference lines": n_reference_lines(fields) < 0,
        f"{fields['frame_size']} samples a line": fields["frame_size"] < 1,
        f"{fields['n_stored_frames']} stored lines of {fields['n_frames']}": (
            int(fields["n_stored_frames"]) != int(fields["n_frames"]) + 1 + int(fields["n_overscans"])
        ),
        f"{fields['n_stored_samples']} stored samples of {fields['frame_size']}": (
            fields["n_stored_samples"] != fields["frame_size"]
        ),
        f"receivers {first} to {last}": not 0 <= first <= last,
    }
    for found, is_wrong in wrong.items():
        if is_wrong:
            raise DamagedScan(
                f"the header announces {found}, which no scan of revision {revision.number:.3f} can have; raki needs a "
                "sound header: copy or export the scan again"
            )


def _require_supported(fields: np.void) -> None:
    strange = {name: int(fields[name]) & ~known for name, known in KNOWN_BITS.items()}
    unknown = {
        f"several passes ({fields['n_passes']})": fields["n_passes"] != 1,
        f"several echoes ({fields['n_echoes']})": fields["n_echoes"] != 1,
        f"several excitations ({fields['n_excitations']})": fields["n_excitations"] != 1,
        f"overscan lines ({fields['n_overscans']})": fields["n_overscans"] != 0,
        "several groups of receivers": fields["receivers"][1:].any(),
        "separately calibrated parallel imaging (ASSET)": fields["asset"] != 0,
        "flipped lines or samples": (fields["dacq_control"] & 0x1E) != 0,
        f"an image turned in an unknown way ({fields['rotation']}, {fields['transpose']})": (
            fields["rotation"] not in (0, 1, 2, 3) or fields["transpose"] not in (0, 3)
        ),
        "scaled steps in k-space": (fields["frequency_scale"], fields["phase_scale"]) != (1, 1),
        f"another matrix ({fields['matrix'][0]:g} x {fields['matrix'][1]:g}) than was recorded "
        f"({fields['frame_size']} x {n_lines(fields)})": (
            fields["matrix"].tolist() != [fields["frame_size"], n_lines(fields)]
        ),
        f"a special kind of acquisition ({', '.join(f'{name} {bits:#x}' for name, bits in strange.items() if bits)})": (
            any(strange.values())
        ),
    }
    for found, is_unknown in unknown.items():
        if is_unknown:
            raise UnsupportedScan(
                f"the P-file has {found}; raki reads plain Cartesian 2-D scans from P-files: convert it with "
                "ge_to_ismrmrd"
            )


def _require_size(fields: np.void, revision: Revision, n_bytes: int) -> None:
    shape = (n_coils(fields), int(fields["n_slices"]), int(fields["n_stored_frames"]), int(fields["frame_size"]))
    n_needed = revision.n_header_bytes + int(np.prod(shape, dtype=np.int64)) * 2 * int(fields["point_size"])
    if n_bytes != n_needed:
        raise DamagedScan(
            f"the file has {n_bytes} bytes, its header announces {n_needed} "
            f"({' x '.join(map(str, shape))} samples of coils, slices, lines and readout); "
            "the scan was cut short or changed: copy it again"
        )
