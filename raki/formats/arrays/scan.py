"""Acquisitions out of an array of k-space that stays in its file: one for each line in which something was recorded."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import ismrmrd
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool, Complex64, Int

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.acquisitions import flag_bits, require_measured
from raki.formats.arrays.description import COMPLEX, COUNTERS, Description
from raki.formats.arrays.header import NOISE_SAMPLES, acs_heads, bare_header, line_heads, noise_heads, with_encoding

# Read at once: a slice of most scans, and little memory.
BLOCK_BYTES = 32 << 20
# Each has a head in memory; no scan of slices has as many.
MOST_LINES = 1 << 20


@runtime_checkable
class StoredArray(Protocol):
    """An array that is read where it is indexed: a memory-mapped one, or an HDF5 dataset."""

    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype: ...  # noqa: D102
    def __getitem__(self, place: Any, /) -> np.ndarray: ...


class ArrayAcquisitions:
    """The lines of an array as `raki.formats.acquisitions.Acquisitions`: noise, then separate calibration, then image.

    Args:
        kspace: complex, or real with a last axis `complex`; its axes are those of the description. DC is at n // 2.
        noise: what the receivers recorded without excitation, axes `coil sample`.
        acs: calibration lines that were acquired apart, axes `slice coil acs_line ro`, centre at n // 2.
        sampled: the lines that were acquired, where the file tells; of them, those of nothing but zeros weren't.
        header: what else is known of the scan; its encodings are replaced.

    Raises:
        NotAScan: the array holds nothing but zeros.
        UnsupportedScan: axes that raki doesn't know, or more lines than any scan of slices has.
        DamagedScan: the arrays contradict each other or the description.
    """

    def __init__(
        self,
        kspace: StoredArray,
        description: Description,
        *,
        noise: StoredArray | None = None,
        acs: StoredArray | None = None,
        sampled: Bool[np.ndarray, " pe"] | None = None,
        header: xsd.ismrmrdHeader | None = None,
    ) -> None:
        sizes = description.sizes(kspace.shape)
        self._kspace = _Lines(kspace, description.axes, sizes)
        self._acs, self._noise = acs, noise
        acquired = self._kspace.acquired()
        if sampled is not None:
            acquired &= sampled
        self._places = np.argwhere(acquired)
        if len(self._places) == 0:
            raise NotAScan("the array holds nothing but zeros; raki needs k-space as it was measured: export it again")
        geometry = description.geometry(sizes)
        heads = []
        if noise is not None:
            _require_complex(noise, "noise", (sizes["coil"], None))
            heads.append(noise_heads(noise.shape[0], noise.shape[1], description.noise_dwell_time_s))
        self._n_noise = sum(map(len, heads))
        if acs is not None:
            _require_complex(acs, "acs", (sizes.get("slice", 1), sizes["coil"], sizes["pe"], sizes["ro"]))
            heads.append(acs_heads(geometry, acs.shape, sizes, description.dwell_time_s))
        self._n_before = sum(map(len, heads))
        counters = self._kspace.counters(self._places)
        image = line_heads(geometry, counters, sizes, description.dwell_time_s)
        mode = _calibration(image, description.acs_lines, sizes["pe"], apart=acs is not None)
        self.heads = np.concatenate([*heads, image])
        self.heads["scan_counter"] = np.arange(len(self.heads))
        bare = bare_header(description.field_strength_t, description.receiver_noise_bandwidth)
        self.header_xml = with_encoding(header or bare, geometry, sizes, mode)

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted acquisitions, in the order asked for; a block of lines is in memory."""
        for index in map(int, wanted):
            yield _measured(self._values(index), index)

    def _values(self, index: int) -> np.ndarray:
        if index < self._n_noise:
            assert self._noise is not None
            return self._noise[:, index * NOISE_SAMPLES : (index + 1) * NOISE_SAMPLES]
        if index < self._n_before:
            assert self._acs is not None
            slice_index, line = divmod(index - self._n_noise, self._acs.shape[2])
            return self._acs[slice_index, :, line, :]
        *outer, line = self._places[index - self._n_before].tolist()
        return self._kspace.line(tuple(outer), line)


class _Lines:
    """An array with named axes, by its lines. The lines about the last one asked for are kept."""

    def __init__(self, array: StoredArray, axes: Sequence[str], sizes: dict[str, int]) -> None:
        _require_kind(array, "kspace", is_pair=COMPLEX in axes)
        if COMPLEX in axes and sizes[COMPLEX] != 2:
            raise DamagedScan(
                f"the axis '{COMPLEX}' has {sizes[COMPLEX]} elements; raki needs 2, real and imaginary part: correct "
                "'axes'"
            )
        self._array, self._axes = array, axes
        self._outer = [axis for axis in axes if axis in COUNTERS]
        self._n_outer = [sizes[axis] for axis in self._outer]
        self._n_lines = sizes["pe"]
        n_all = int(np.prod([*self._n_outer, self._n_lines], dtype=object))
        if n_all > MOST_LINES:
            raise UnsupportedScan(
                f"the array has {n_all} lines ({' '.join(axes)}); raki takes {MOST_LINES} at most: correct 'axes' or "
                "split the array"
            )
        n_line_bytes = sizes["coil"] * sizes["ro"] * array.dtype.itemsize * sizes.get(COMPLEX, 1)
        self._n_block = min(max(1, BLOCK_BYTES // n_line_bytes), self._n_lines)
        self._kept: tuple[tuple[int, ...], int, np.ndarray] | None = None

    def acquired(self) -> Bool[np.ndarray, "*outer pe"]:
        """Whether any coil has a sample in a line that is a number and not zero, block by block."""
        found = np.zeros((*self._n_outer, self._n_lines), bool)
        for outer in np.ndindex(*self._n_outer):
            for first in range(0, self._n_lines, self._n_block):
                block = self._read(outer, first)
                with np.errstate(all="ignore"):
                    recorded = (block != 0) & np.isfinite(block)
                found[outer][first : first + self._n_block] = recorded.any(axis=(0, *range(2, block.ndim)))
        return found

    def counters(self, places: Int[np.ndarray, "line axis"]) -> dict[str, Int[np.ndarray, " line"]]:
        """ISMRMRD's counters for lines by their places along the outer axes and pe."""
        counters = {COUNTERS[axis]: places[:, number] for number, axis in enumerate(self._outer)}
        return {**counters, "kspace_encode_step_1": places[:, -1]}

    def line(self, outer: tuple[int, ...], line: int) -> np.ndarray:
        """One line, `coil ro` and maybe `complex`."""
        first = line // self._n_block * self._n_block
        if self._kept is None or self._kept[:2] != (outer, first):
            self._kept = (outer, first, self._read(outer, first))
        return self._kept[2][:, line - first]

    def _read(self, outer: tuple[int, ...], first: int) -> np.ndarray:
        """Lines from `first` on, `coil pe ro` and maybe `complex`."""
        place = dict(zip(self._outer, outer, strict=True))
        lines = {"pe": slice(first, first + self._n_block)}
        block = np.asarray(self._array[tuple(place.get(axis, lines.get(axis, slice(None))) for axis in self._axes)])
        left = [axis for axis in self._axes if axis not in self._outer]
        if "coil" not in left:
            block, left = block[None], ["coil", *left]
        order = [axis for axis in ("coil", "pe", "ro", COMPLEX) if axis in left]
        return block.transpose([left.index(axis) for axis in order])


def _calibration(
    image: np.ndarray, acs_lines: tuple[int, int] | None, n_pe: int, *, apart: bool
) -> xsd.calibrationModeType | None:
    """How calibration was acquired; flags the image's lines that serve it."""
    if apart:
        return xsd.calibrationModeType.SEPARATE
    if acs_lines is None:
        return None
    first, end = acs_lines
    if not first < end <= n_pe:
        raise DamagedScan(
            f"'acs_lines' are {first} to {end}; raki needs the first and one past the last of {n_pe} lines: correct it "
            "or leave it out"
        )
    lines = image["idx"]["kspace_encode_step_1"]
    image["flags"][(first <= lines) & (lines < end)] = flag_bits(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    return xsd.calibrationModeType.EMBEDDED


def _require_kind(array: StoredArray, name: str, *, is_pair: bool) -> None:
    kinds = "fiu" if is_pair else "c"
    if array.dtype.kind not in kinds:
        raise UnsupportedScan(
            f"the array '{name}' is of type {array.dtype.name}; raki needs complex numbers, or real ones with a last "
            f"axis '{COMPLEX}' of 2 in k-space: convert it"
        )


def _require_complex(array: StoredArray, name: str, shape: tuple[int | None, ...]) -> None:
    """Raises unless the array is complex and has the coils and slices of k-space, and no more lines and samples."""
    _require_kind(array, name, is_pair=False)
    wanted = {"noise": "coil sample", "acs": "slice coil acs_line ro"}[name]
    n_same = max(1, len(shape) - 2)
    fits = len(array.shape) == len(shape) and min(array.shape) > 0 and array.shape[:n_same] == shape[:n_same]
    if not fits or any(most is not None and found > most for found, most in zip(array.shape, shape, strict=True)):
        raise DamagedScan(
            f"the array '{name}' is {' x '.join(map(str, array.shape)) or 'a single number'}; beside this k-space raki "
            f"needs '{wanted}' of at most {' x '.join('any' if n is None else str(n) for n in shape)}, slices and "
            "coils the same: correct it"
        )


def _measured(values: np.ndarray, index: int) -> np.ndarray:
    """The values as complex samples of their own, if all are such as a receiver gives."""
    numbers = np.asarray(values)
    if numbers.dtype.kind != "c":
        numbers = np.ascontiguousarray(numbers, dtype=np.float64).view(np.complex128)[..., 0]
    # Looked at before they are made shorter, where large ones would become infinite.
    with np.errstate(all="ignore"):
        require_measured(numbers, index)
    return numbers.astype(np.complex64, order="C")
