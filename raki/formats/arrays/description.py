"""What an array of k-space can't say of itself: the meaning of its axes, and where the image lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from raki.errors import DamagedScan, UnsupportedScan
from raki.scan import Geometry
from raki.scan.geometry import UNKNOWN_SPACING_MM
from raki.scan.header import LARGEST_MATRIX, LONGEST_MM, SHORTEST_MM

COUNTERS = {
    "slice": "slice",
    "pe2": "kspace_encode_step_2",
    "partition": "kspace_encode_step_2",
    "contrast": "contrast",
    "phase": "phase",
    "repetition": "repetition",
    "set": "set",
    "average": "average",
}
"""Axes beside coil, pe and ro, and ISMRMRD's counters for them; 'phase' is that of the heart or the breath."""
COMPLEX = "complex"
"""The last axis of an array of real numbers: real and imaginary part."""
ALL_AXES = ("coil", "pe", "ro", *COUNTERS, COMPLEX)
# An unknown length: the image of a bare array has pixels of this size.
PIXEL_MM = 1.0

Three = tuple[float, float, float]


@dataclass(frozen=True)
class Quantity:
    """How many numbers there are, and between which bounds real ones lie."""

    n_numbers: int
    least: int | float
    most: int | float


LENGTH_MM = Quantity(1, SHORTEST_MM, LONGEST_MM)
TIME_S = Quantity(1, 1e-12, 1.0)
DIRECTION = Quantity(3, -1.0, 1.0)
QUANTITIES = {
    "fov_mm": Quantity(3, SHORTEST_MM, LONGEST_MM),
    "slice_spacing_mm": LENGTH_MM,
    "readout_oversampling": Quantity(1, 1.0, 64.0),
    "phase_oversampling": Quantity(1, 1.0, 64.0),
    "image_rows": Quantity(1, 1, LARGEST_MATRIX),
    "position_mm": Quantity(3, -LONGEST_MM, LONGEST_MM),
    "read_direction": DIRECTION,
    "phase_direction": DIRECTION,
    "slice_direction": DIRECTION,
    "acs_lines": Quantity(2, 0, LARGEST_MATRIX),
    "dwell_time_s": TIME_S,
    "noise_dwell_time_s": TIME_S,
    "field_strength_t": Quantity(1, 1e-3, 30.0),
    "receiver_noise_bandwidth": Quantity(1, 1e-3, 1e3),
}
WHOLE = ("image_rows", "acs_lines")


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is told about an array of k-space. All but the axes may be left out."""

    axes: tuple[str, ...]
    """Names out of `ALL_AXES`, in the order of the array's axes."""
    fov_mm: Three | None = None
    """Field of view of the image along readout, phase-encode and slice; pixels of `PIXEL_MM` where nothing is told."""
    slice_spacing_mm: float | None = None
    """Distance between slice centres; the field of view along slice where nothing is told."""
    readout_oversampling: float = 1.0
    phase_oversampling: float = 1.0
    image_rows: int | None = None
    """Rows of the image; the lines of k-space without phase oversampling where nothing is told."""
    position_mm: Three = (0.0, 0.0, 0.0)
    """Centre of the first slice, in LPS."""
    read_direction: Three | None = None
    phase_direction: Three | None = None
    slice_direction: Three | None = None
    """Those of an axial scan where nothing is told; of none, the image has no known orientation."""
    acs_lines: tuple[int, int] | None = None
    """First and one past the last line for calibration inside k-space; found by looking where nothing is told."""
    dwell_time_s: float = 0.0
    """Zero where nothing is told, as in ISMRMRD."""
    noise_dwell_time_s: float = 0.0
    field_strength_t: float | None = None
    receiver_noise_bandwidth: float | None = None
    """Noise bandwidth of the receiver over its sampling bandwidth."""

    @classmethod
    def from_fields(cls, told: Mapping[str, object]) -> "Description":
        """The description in a file: texts, numbers and lists of them, named like the fields of this class.

        Raises:
            UnsupportedScan: the axes, or a name, are none that raki knows.
            DamagedScan: a number is missing or impossible.
        """
        known = [field.name for field in fields(cls)]
        for name in told:
            if name not in known:
                raise UnsupportedScan(
                    f"the description has '{_short(name)}', which raki doesn't know; it may have {', '.join(known)}: "
                    "rename it or leave it out"
                )
        numbers: dict[str, Any] = {name: _quantity(name, value) for name, value in told.items() if name != "axes"}
        axes = told.get("axes")
        names = axes.replace(",", " ").split() if isinstance(axes, str) else axes
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UnsupportedScan(
                "the order of the array's axes isn't told; raki needs 'axes' with their names in the array's order, "
                'as in "slice coil pe ro"'
            )
        _require_directions(numbers)
        return cls(axes=tuple(names), **numbers)

    def sizes(self, shape: Sequence[int]) -> dict[str, int]:
        """The length of each axis of an array, coil included where it has no such axis.

        Raises:
            UnsupportedScan: an axis that raki doesn't know, or none for pe or ro.
            DamagedScan: the axes aren't those of an array of this shape.
        """
        _require_known(self.axes)
        if len(self.axes) != len(shape):
            raise DamagedScan(
                f"{len(self.axes)} axes are declared ({' '.join(self.axes)}), the array has {len(shape)} "
                f"({_times(shape)}); raki needs one name for each axis, in the array's order: correct 'axes'"
            )
        sizes = {"coil": 1, **dict(zip(self.axes, map(int, shape), strict=True))}
        if not all(1 <= size <= LARGEST_MATRIX for size in sizes.values()):
            raise DamagedScan(
                f"the array is {_times(shape)} ({' '.join(self.axes)}); raki needs 1 to {LARGEST_MATRIX} along each "
                "axis: correct 'axes' or export the array again"
            )
        return sizes

    def geometry(self, sizes: Mapping[str, int]) -> Geometry:
        """Where the image lies, for an array with axes of these lengths."""
        n_pe, n_ro = sizes["pe"], sizes["ro"]
        n_columns = max(1, round(n_ro / self.readout_oversampling))
        n_rows = self.image_rows or max(1, round(n_pe / self.phase_oversampling))
        encoded_rows = max(n_rows, round(n_rows * self.phase_oversampling))
        rows_mm, partitions_mm = PIXEL_MM * n_pe * n_rows / encoded_rows, PIXEL_MM * n_partitions(sizes)
        fov_mm = self.fov_mm or (PIXEL_MM * n_columns, rows_mm, partitions_mm)
        return Geometry(
            fov_mm=fov_mm,
            matrix=(n_rows, n_columns),
            phase_oversampling=encoded_rows / n_rows,
            slice_spacing_mm=self.slice_spacing_mm or fov_mm[2] or UNKNOWN_SPACING_MM,
            read_direction=self.read_direction or (1.0, 0.0, 0.0),
            phase_direction=self.phase_direction or (0.0, 1.0, 0.0),
            slice_direction=self.slice_direction or (0.0, 0.0, 1.0),
            position_mm=self.position_mm,
            is_oriented=bool(self.read_direction or self.phase_direction or self.slice_direction),
        )


def n_partitions(sizes: Mapping[str, int]) -> int:
    """Second phase-encoding steps of an array with axes of these lengths; 1 in 2-D."""
    return sizes.get("pe2", sizes.get("partition", 1))


def _quantity(name: str, value: object) -> object:
    """A number, or a tuple of several; whole where it counts something."""
    wanted = QUANTITIES[name]
    found: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    fits = [isinstance(n, int | float) and not isinstance(n, bool) and wanted.least <= n <= wanted.most for n in found]
    whole = name in WHOLE
    if len(found) != wanted.n_numbers or not all(fits) or (whole and any(n != int(n) for n in found)):
        kind = "whole number" if whole else "number"
        raise DamagedScan(
            f"'{name}' is {_short(value)}; raki needs {wanted.n_numbers} {kind}{'s' * (wanted.n_numbers > 1)} from "
            f"{wanted.least:g} to {wanted.most:g}: correct it or leave it out"
        )
    numbers = tuple(int(n) if whole else float(n) for n in found)
    return numbers if wanted.n_numbers > 1 else numbers[0]


def _require_directions(numbers: Mapping[str, object]) -> None:
    for name, value in numbers.items():
        if QUANTITIES[name] is DIRECTION and isinstance(value, tuple) and abs(sum(n * n for n in value) - 1) > 1e-3:
            raise DamagedScan(
                f"'{name}' is {_short(value)}; raki needs a vector of length 1: correct it or leave it out"
            )


def _require_known(axes: Sequence[str]) -> None:
    """Raises UnsupportedScan unless each axis has a meaning, and one of its own."""
    for name in axes:
        if name not in ALL_AXES:
            raise UnsupportedScan(
                f"the axis '{_short(name)}' is declared; raki knows {', '.join(ALL_AXES)}: rename it, or take one "
                "element along it"
            )
    meanings = [COUNTERS.get(name, name) for name in axes]
    for name in axes:
        if meanings.count(COUNTERS.get(name, name)) > 1:
            raise UnsupportedScan(f"the axis '{name}' is declared twice ({' '.join(axes)}); raki needs different axes")
    if not {"pe", "ro"} <= set(axes):
        raise UnsupportedScan(
            f"the axes are declared as {' '.join(axes) or 'none'}; raki needs 'pe' and 'ro' among them, phase-encode "
            "lines and samples along the readout"
        )
    if COMPLEX in axes[:-1]:
        raise UnsupportedScan(f"the axis '{COMPLEX}' stands before others ({' '.join(axes)}); raki needs it last")


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"


def _short(found: object) -> str:
    """What stands in the file, cut so that it fits in a sentence."""
    text = " ".join(str(found).split())
    return text if len(text) <= 40 else text[:40] + "..."
