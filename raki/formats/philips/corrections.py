"""Corrections that the scanner has worked out: of EPI's phases (PHX) and of the receiver's spectrum (FRX).

A line is transformed along the readout, the image's part of its spectrum is taken, and multiplied by the correction
vectors with its own mixed sequence, echo, location, coil and sign of the gradient; PHX also by echo in the train.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Complex64, Int

from raki.errors import DamagedScan
from raki.formats.philips.axes import Axis
from raki.formats.philips.listing import Listing
from raki.scan import to_lines

ALIKE = {
    b"PHX": (("mix", "echo", "loca", "chan", "sign", "rf", "grad"), ("mix", "echo", "loca", "chan", "sign")),
    b"FRX": (("mix", "echo", "loca", "chan", "sign"), ("mix", "echo", "loca", "chan")),
}
"""What identifies vectors of corrections by the file's own table; and what is enough where that finds none, because
attributes that don't count may hold anything, if it finds one alone."""


class Corrections:
    """Finds the rows of correction vectors for lines."""

    def __init__(self, listing: Listing) -> None:
        self._columns = listing.columns
        self._found = {
            kind: [self._by(rows, names) for names in ALIKE[kind]]
            for kind in ALIKE
            if len(rows := np.flatnonzero(listing.types == kind))
        }
        self._of_key = lru_cache(maxsize=1 << 16)(self._find)

    def __bool__(self) -> bool:
        return bool(self._found)

    def has(self, kind: bytes) -> bool:
        """Whether there are vectors of this type."""
        return kind in self._found

    def rows_for(self, row: int) -> tuple[int, ...]:
        """The rows of corrections for a line's row.

        Raises:
            DamagedScan: there are none, or several.
        """
        names = ALIKE[b"PHX"][0]
        return self._of_key(tuple(int(self._columns[name][row]) for name in names))

    def _by(self, rows: Int[np.ndarray, " row"], names: tuple[str, ...]) -> dict[tuple[int, ...], list[int]]:
        found: dict[tuple[int, ...], list[int]] = {}
        for row in rows.tolist():
            found.setdefault(tuple(int(self._columns[name][row]) for name in names), []).append(row)
        return found

    def _find(self, key: tuple[int, ...]) -> tuple[int, ...]:
        named = dict(zip(ALIKE[b"PHX"][0], key, strict=True))
        found = []
        for kind, tables in self._found.items():
            of_each = [
                table.get(tuple(named[name] for name in names), [])
                for table, names in zip(tables, ALIKE[kind], strict=True)
            ]
            single = [rows[0] for rows in of_each if len(rows) == 1]
            if not single:
                raise DamagedScan(
                    f"the .list has {kind.decode()} vectors, and {max(map(len, of_each)) or 'none'} of them for a line "
                    f"of coil {named['chan']}, location {named['loca']} and echo {named['grad']} of the train; raki "
                    "needs one: export the scan again"
                )
            found.append(single[0])
        return tuple(found)


def corrected(
    samples: Complex64[np.ndarray, "coil sample"],
    coordinates: Int[np.ndarray, " sample"],
    axis: Axis,
    factors: Complex64[np.ndarray, "coil pixel"],
) -> Complex64[np.ndarray, "coil pixel"]:
    """Lines whose spectrum was multiplied by factors; of the image's part alone, so without oversampling."""
    placed = np.zeros((len(samples), axis.n_transformed), np.complex64)
    placed[:, coordinates % axis.n_transformed] = samples
    spectrum = np.fft.fft(placed, norm="ortho")[:, axis.positions % axis.n_transformed]
    return np.ascontiguousarray(to_lines(spectrum * factors).astype(np.complex64))
