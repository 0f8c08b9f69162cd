"""Acquisitions of which only some count, or several in a row, with other heads; the samples stay where they are."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Complex64, Int

from raki.formats.acquisitions import Acquisitions


class Selected:
    """Some of the acquisitions, in their order, with heads of their own.

    Args:
        kept: of the acquisitions, by their indices.
        heads: theirs; by default as they are.
        coils: of each line, in this order, where it has as many as `n_coils`; by default all.
    """

    def __init__(
        self,
        acquisitions: Acquisitions,
        kept: Int[np.ndarray, " kept"],
        *,
        heads: np.ndarray | None = None,
        coils: Int[np.ndarray, " coil"] | None = None,
        n_coils: int | None = None,
    ) -> None:
        self._acquisitions, self._kept, self._coils, self._n_coils = acquisitions, kept, coils, n_coils
        self.header_xml = acquisitions.header_xml
        self.heads = (acquisitions.heads[kept] if heads is None else heads).copy()
        if coils is not None:
            self.heads["active_channels"][self.heads["active_channels"] == n_coils] = len(coils)

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted acquisitions, in the order asked for."""
        for samples in self._acquisitions.samples(self._kept[wanted]):
            yield samples if self._coils is None or len(samples) != self._n_coils else samples[self._coils]


def with_heads(acquisitions: Acquisitions, heads: np.ndarray) -> Acquisitions:
    """The same acquisitions, counted otherwise."""
    return Selected(acquisitions, np.arange(len(heads)), heads=heads)


class OneAfterAnother:
    """Several acquisitions in a row, under one header."""

    def __init__(self, parts: Sequence[Acquisitions], header_xml: str) -> None:
        self._parts, self.header_xml = parts, header_xml
        self._ends = np.cumsum([len(part.heads) for part in parts])
        self.heads = np.concatenate([part.heads for part in parts])

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The samples of the wanted acquisitions, in the order asked for."""
        parts = np.searchsorted(self._ends, wanted, side="right")
        starts = np.flatnonzero(np.diff(parts, prepend=-1))
        for start, end in zip(starts, [*starts[1:], len(wanted)], strict=True):
            part = self._parts[parts[start]]
            yield from part.samples(wanted[start:end] - (self._ends[parts[start]] - len(part.heads)))
