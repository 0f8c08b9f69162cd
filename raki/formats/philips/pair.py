"""Philips's pairs of `.list` and `.data`: complex samples in single precision, one vector for each line and coil.

What is known of them stands in the `.list` itself; no specification is published. It tells no lengths and no
directions: pixels are shown as of 1 mm, and images carry no letters. Lines of a negative gradient stand in the order of
k-space, as the file counts its samples by kx. No file of a scanner was at hand.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64, Int

from raki.archive import companion_of
from raki.errors import DamagedScan, NoiseAlone, NotAScan, UnsupportedScan
from raki.formats.acquisitions import HEAD, Format, flag_bits, require_measured
from raki.formats.philips.axes import SAME, Axis, Grid, read_axis, sense_factor
from raki.formats.philips.corrections import Corrections, corrected
from raki.formats.philips.listing import Listing, Place, looks_like_list, read_listing
from raki.formats.philips.vectors import SAMPLE_BYTES, image_vectors, noise_vectors, require_within, sets_of
from raki.formats.sorting.marks import grouped

# ISMRMRD counts samples in 16 bits.
NOISE_SAMPLES = 1 << 15
COUNTERS = {"loca": "slice", "echo": "contrast", "card": "phase", "dyn": "repetition", "aver": "average"}
ABOUT_LENGTHS = (
    "The .list tells no lengths: pixels are taken as of 1 mm, slices as 1 mm apart and in the order of their numbers."
)
DROPPED = {
    b"REJ": "were rejected by the scanner (arrhythmia)",
    b"NAV": "are navigators",
    b"DNA": "are dynamic navigators",
}


class PhilipsPair:
    """An open pair; see `raki.formats.acquisitions.Acquisitions`. Noise comes first, then lines in the file's order."""

    def __init__(self, fd: int, listing: Listing) -> None:
        self._fd, self._listing = fd, listing
        require_within(listing, os.fstat(fd).st_size)
        lines = np.flatnonzero(listing.types == b"STD")
        if not len(lines):
            kind = NoiseAlone if (listing.types == b"NOI").any() else NotAScan
            raise kind("the .list names no standard vectors (STD); raki needs the lines of an image: export them")
        _require_images(listing)
        self._image = image_vectors(listing, lines)
        self._first = self._image.rows[:, 0]
        noise = noise_vectors(listing, self._image.channels)
        self._noise = [] if noise is None else _pieces(noise, listing.columns["size"])
        self._corrections = Corrections(listing)
        self._reads_both_ways = self._has_both_directions()
        self._lay_out()
        self.remarks = (ABOUT_LENGTHS, *_about_dropped(listing), *self._about_corrections())
        self.refusal = _refusal_of_sense(listing)

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted acquisitions, in the order asked for."""
        for index in map(int, wanted):
            if index < len(self._noise):
                group, first, n_samples = self._noise[index]
                found = np.stack([self._read(int(row))[first : first + n_samples] for row in group])
            else:
                found = self._line(index - len(self._noise))
            yield found

    def _line(self, number: int) -> Complex64[np.ndarray, "coil sample"]:
        """One line as raki counts k-space, its image in the middle."""
        rows = self._image.rows[number]
        row = int(rows[0])
        samples = self._read_together(rows)
        place = self._place(row)
        x, y, z = self._axes[place]
        coordinates = self._coordinates(place)
        if self._corrections:
            samples = corrected(samples, coordinates, x, self._factors(rows, x))
        else:
            turned, reads = self._along[place]
            samples = samples[:, reads] * x.phases(turned)
        for axis, name in ((y, "ky"), (z, "kz")):
            if axis is not None:
                samples = samples * axis.phases(axis.turned(self._listing.columns[name][[row]]))
        if self._is_backward[number]:
            samples = samples[:, ::-1]
        return np.ascontiguousarray(samples, np.complex64)

    def _factors(self, rows: np.ndarray, x: Axis) -> Complex64[np.ndarray, "coil pixel"]:
        factors = np.ones((len(rows), x.n_image), np.complex64)
        for coil, row in enumerate(rows.tolist()):
            for correction in self._corrections.rows_for(row):
                vector = self._read(correction)
                if len(vector) != x.n_image:
                    raise DamagedScan(
                        f"a correction vector has {len(vector)} elements, the image {x.n_image} pixels along the "
                        "readout; raki needs as many: export the scan again"
                    )
                factors[coil] *= vector
        return factors

    def _read_together(self, rows: Int[np.ndarray, " coil"]) -> Complex64[np.ndarray, "coil sample"]:
        """Vectors of one size, in one piece where they follow each other."""
        size, offsets = int(self._listing.columns["size"][rows[0]]), self._listing.columns["offset"][rows]
        if (np.diff(offsets) == size).all():
            return self._samples_at(int(offsets[0]), size * len(rows), int(rows[0])).reshape(len(rows), -1)
        return np.stack([self._read(int(row)) for row in rows])

    def _read(self, row: int) -> Complex64[np.ndarray, " sample"]:
        n_bytes, offset = int(self._listing.columns["size"][row]), int(self._listing.columns["offset"][row])
        return self._samples_at(offset, n_bytes, row)

    def _samples_at(self, offset: int, n_bytes: int, row: int) -> Complex64[np.ndarray, " sample"]:
        content = os.pread(self._fd, n_bytes, offset)
        if len(content) < n_bytes:
            raise DamagedScan("the .data ended while it was read; raki needs a complete file: copy the scan again")
        samples = np.frombuffer(content, "<f4").astype(np.float32)
        require_measured(samples, row)
        return samples.view(np.complex64)

    def _place(self, row: int) -> Place:
        """Mixed sequence, echo and location."""
        mix, echo, location = (int(self._listing.columns[name][row]) for name in ("mix", "echo", "loca"))
        return mix, echo, location

    def _coordinates(self, place: Place) -> Int[np.ndarray, " sample"]:
        first, last = map(round, self._listing.of("kx_range", (place[0], place[1], 0), 2))
        return np.arange(first, last + 1)

    @cached_property
    def _axes(self) -> dict[Place, tuple[Axis, Axis, Axis | None]]:
        """Of each mixed sequence, echo and location."""
        found = {}
        for place in self._lines_of:
            z = read_axis(self._listing, "Z", place) if self._is_volume else None
            found[place] = read_axis(self._listing, "X", place), read_axis(self._listing, "Y", place), z
        return found

    @cached_property
    def _lines_of(self) -> dict[Place, Int[np.ndarray, " line"]]:
        """Which lines are of each mixed sequence, echo and location."""
        table = np.stack([self._listing.columns[name][self._first] for name in ("mix", "echo", "loca")], axis=1)
        places, numbers = np.unique(table, axis=0, return_inverse=True)
        return {
            (mix, echo, location): lines
            for (mix, echo, location), lines in zip(places.tolist(), grouped(numbers.ravel(), len(places)), strict=True)
        }

    @cached_property
    def _is_volume(self) -> bool:
        return len(np.unique(self._listing.columns["kz"][self._first])) > 1

    @cached_property
    def _along(self) -> dict[Place, tuple[Int[np.ndarray, " sample"], Int[np.ndarray, " sample"]]]:
        """Of each place the turned coordinates along the readout in ascending order, and which sample has them."""
        found = {}
        for place, (x, _, _) in self._axes.items():
            turned = x.turned(self._coordinates(place))
            turned = np.where((turned == self._grid_x.n // 2) & self._grid_x.wraps, -turned, turned)
            reads = np.argsort(turned, kind="stable")
            found[place] = turned[reads], reads
        return found

    def _has_both_directions(self) -> bool:
        signs = self._listing.columns["sign"][self._first]
        both = bool((signs < 0).any() and (signs >= 0).any())
        if both and np.isin(self._listing.types, (b"PHC", b"FRC")).any():
            raise UnsupportedScan(
                "the pair was exported before the scanner worked out its corrections of EPI (vectors PHC, FRC), and "
                "nothing tells in which order its lines are; raki needs PHX vectors: export corrected raw data"
            )
        return both

    def _lay_out(self) -> None:
        """The header and the heads: where every line belongs."""
        _require_sizes(self._listing, self._image.rows, self._first)
        one = next(iter(self._axes.values()))
        if any(_lengths(axes) != _lengths(one) for axes in self._axes.values()):
            raise UnsupportedScan(
                "echoes, locations or mixed sequences of the scan differ in matrix or oversampling; raki needs one for "
                "all: export them one by one"
            )
        x, y, z = one
        every = np.concatenate([axes[0].turned(self._coordinates(place)) for place, axes in self._axes.items()])
        self._grid_x = Grid.of(every, x, "kx")
        turned_y = self._turned("ky", 1)
        grid_y = Grid.of(turned_y, y, "ky")
        grid_z, turned_z = None, None
        if z is not None:
            turned_z = self._turned("kz", 2)
            grid_z = Grid.of(turned_z, z, "kz")
        n_ro = x.n_image if self._corrections else self._grid_x.n
        signs = self._listing.columns["sign"][self._first]
        self._is_backward = (signs < 0) & self._reads_both_ways & (not self._corrections.has(b"PHX"))
        heads = self._line_heads(n_ro)
        heads["idx"]["kspace_encode_step_1"] = grid_y.places(turned_y)
        if grid_z is not None and turned_z is not None:
            heads["idx"]["kspace_encode_step_2"] = grid_z.places(turned_z)
        noise = self._noise_heads()
        self.heads = np.concatenate([noise, heads])
        self.heads["scan_counter"] = np.arange(len(self.heads))
        sizes = (n_ro, grid_y.n, grid_z.n if grid_z else 1)
        self.header_xml = _header_xml(
            one,
            sizes,
            is_epi=bool(self._is_backward.any()),
            n_coils=len(self._image.channels),
            without_margin=bool(self._corrections),
        )

    def _turned(self, name: str, number: int) -> Int[np.ndarray, " line"]:
        coordinates = self._listing.columns[name][self._first]
        turned = np.zeros_like(coordinates)
        for place, here in self._lines_of.items():
            axis = self._axes[place][number]
            assert axis is not None
            turned[here] = axis.turned(coordinates[here])
        return turned

    def _line_heads(self, n_ro: int) -> np.ndarray:
        heads = _empty_heads(len(self._first), len(self._image.channels))
        columns = self._listing.columns
        for name, counter in COUNTERS.items():
            heads["idx"][counter] = columns[name][self._first]
        heads["idx"]["set"] = sets_of(self._listing, self._first)
        heads["position"][:, 2] = columns["loca"][self._first]
        for place, here in self._lines_of.items():
            turned = np.arange(n_ro) - n_ro // 2 if self._corrections else self._along[place][0]
            heads["number_of_samples"][here] = len(turned)
            heads["center_sample"][here] = np.where(self._is_backward[here], turned[-1], -turned[0])
        heads["flags"][self._is_backward] |= flag_bits(ismrmrd.ACQ_IS_REVERSE)
        return heads

    def _noise_heads(self) -> np.ndarray:
        heads = _empty_heads(len(self._noise), len(self._image.channels))
        heads["flags"] = flag_bits(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        for head, (_, _, n_samples) in zip(heads, self._noise, strict=True):
            head["number_of_samples"], head["center_sample"] = n_samples, n_samples // 2
        return heads

    def _about_corrections(self) -> tuple[str, ...]:
        if not self._corrections:
            return ()
        kinds = [kind.decode() for kind in (b"PHX", b"FRX") if self._corrections.has(kind)]
        return (f"The scanner's own corrections of each line were applied ({' and '.join(kinds)} vectors).",)


def _empty_heads(n_heads: int, n_coils: int) -> np.ndarray:
    heads = np.zeros(n_heads, HEAD)
    heads["version"] = 1
    heads["available_channels"] = heads["active_channels"] = n_coils
    # Readout and phase-encode stay unset: their directions aren't known.
    heads["slice_dir"] = (0.0, 0.0, 1.0)
    return heads


def _lengths(axes: tuple[Axis, Axis, Axis | None]) -> list[tuple[int, int] | None]:
    return [None if axis is None else (axis.n_transformed, axis.n_image) for axis in axes]


def _pieces(groups: np.ndarray, sizes: np.ndarray) -> list[tuple[np.ndarray, int, int]]:
    """Noise in acquisitions that ISMRMRD can count: rows, first sample, number of samples."""
    pieces = []
    for group in groups:
        n_samples = int(sizes[group[0]]) // SAMPLE_BYTES
        pieces += [(group, at, min(NOISE_SAMPLES, n_samples - at)) for at in range(0, n_samples, NOISE_SAMPLES)]
    return pieces


def _require_images(listing: Listing) -> None:
    (n_dimensions,) = listing.of("number_of_encoding_dimensions", (0, 0, 0), 1, (2.0,))
    if "F-resolution" in listing.values or n_dimensions not in (2, 3):
        raise UnsupportedScan(
            f"the scan has {n_dimensions:g} encoding dimensions"
            f"{', one of frequency' if 'F-resolution' in listing.values else ''}, as in spectroscopy; raki "
            "reconstructs images, in 2-D and 3-D"
        )


def _require_sizes(listing: Listing, rows: np.ndarray, first: np.ndarray) -> None:
    """Each vector of an image has a sample for each kx of its echo's range."""
    kinds = np.stack([listing.columns["mix"][first], listing.columns["echo"][first]], axis=1)
    for mix, echo in np.unique(kinds, axis=0).tolist():
        start, end = map(round, listing.of("kx_range", (mix, echo, 0), 2))
        here = (kinds == (mix, echo)).all(axis=1)
        n_samples = np.unique(listing.columns["size"][rows[here]] // SAMPLE_BYTES)
        if not start <= 0 <= end or n_samples.tolist() != [end - start + 1]:
            raise DamagedScan(
                f"kx goes from {start} to {end} by the .list, and vectors have {n_samples[0]} to {n_samples[-1]} "
                "samples; raki needs one for each kx, and the centre among them: export the scan again"
            )


def _refusal_of_sense(listing: Listing) -> str | None:
    factors = {letter: sense_factor(listing, letter) for letter in "XYZ"}
    reduced = [f"{factor:g} along {letter}" for letter, factor in factors.items() if abs(factor - 1) > SAME]
    if not reduced:
        return None
    return (
        f"the scan was accelerated by SENSE ({', '.join(reduced)}), whose coil reference is a scan of its own that no "
        ".list holds; raki calibrates on fully sampled lines of the scan itself: export it without SENSE"
    )


def _about_dropped(listing: Listing) -> tuple[str, ...]:
    counted = {kind: int((listing.types == kind).sum()) for kind in DROPPED}
    return tuple(
        f"{number} of {len(listing.types)} vectors {DROPPED[kind]} ({kind.decode()}): they were left out."
        for kind, number in counted.items()
        if number
    )


def _header_xml(
    axes: tuple[Axis, Axis, Axis | None],
    sizes: tuple[int, int, int],
    *,
    is_epi: bool,
    n_coils: int,
    without_margin: bool,
) -> str:
    x, y, z = axes
    n_ro, n_pe, n_pe2 = sizes
    margins = (x.n_image if without_margin else x.n_transformed), y.n_transformed, z.n_transformed if z else 1
    shown = x.n_image, y.n_image, z.n_image if z else 1
    encoding = xsd.encodingType(
        encodedSpace=_space((n_ro, n_pe, n_pe2), margins),
        reconSpace=_space(shown, shown),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=xsd.limitType(minimum=0, maximum=n_pe - 1, center=n_pe // 2),
            kspace_encoding_step_2=xsd.limitType(minimum=0, maximum=n_pe2 - 1, center=n_pe2 // 2),
        ),
        trajectory=xsd.trajectoryType.EPI if is_epi else xsd.trajectoryType.CARTESIAN,
    )
    header = xsd.ismrmrdHeader(
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="Philips", receiverChannels=n_coils
        ),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=0),
        encoding=[encoding],
    )
    return str(xsd.ToXML(header, encoding="UTF-8"))


def _space(matrix: tuple[int, int, int], fov_mm: tuple[int, int, int]) -> xsd.encodingSpaceType:
    (n_x, n_y, n_z), (x_mm, y_mm, z_mm) = matrix, map(float, fov_mm)
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=n_x, y=n_y, z=n_z), fieldOfView_mm=xsd.fieldOfViewMm(x=x_mm, y=y_mm, z=z_mm)
    )


@contextmanager
def open_pair(path: Path) -> Iterator[PhilipsPair]:
    """Opens the `.list` of a pair; the `.data` stands beside it under the same name.

    Raises:
        NotAScan: no lines are listed.
        DamagedScan: the files contradict themselves or each other, or one is missing.
        UnsupportedScan: spectra, images, or vectors that raki doesn't know.
    """
    listing = read_listing(path)
    beside = companion_of(path, ".data")
    if not beside.is_file():
        raise DamagedScan(
            f"the .data that belongs to the .list is missing, with its {len(listing.types)} vectors; raki needs both "
            "under one name: copy it beside"
        )
    fd = os.open(beside, os.O_RDONLY)
    try:
        yield PhilipsPair(fd, listing)
    finally:
        os.close(fd)


PHILIPS_LIST = Format(
    name="Philips list/data",
    suffixes=(".list",),
    recognises=looks_like_list,
    open=open_pair,
    companions=(".data",),
)
