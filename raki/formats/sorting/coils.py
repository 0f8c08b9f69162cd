"""Which coil is which: by the labels of the header, and which of them recorded nothing."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from raki.scan.header import parse_header


def coil_labels(header_xml: str, n_coils: int) -> list[str] | None:
    """The label of each coil in the order of the samples; None unless each has one of its own."""
    system = parse_header(header_xml).acquisitionSystemInformation
    labels = list(system.coilLabel) if system else []
    if sorted(label.coilNumber for label in labels if isinstance(label.coilNumber, int)) == list(range(len(labels))):
        labels.sort(key=lambda label: label.coilNumber)
    names = [str(label.coilName).strip() for label in labels]
    return names if len(names) == n_coils == len(set(names)) else None


def in_order_of(wanted: Sequence[str], there: Sequence[str]) -> Int[np.ndarray, " coil"] | None:
    """Where each of the wanted coils is among those there; None unless all are."""
    places = {label: number for number, label in enumerate(there)}
    return np.array([places[label] for label in wanted]) if set(wanted) <= set(places) else None


def about_dead(dead: Bool[np.ndarray, " coil"]) -> tuple[str, ...]:
    """A sentence on coils that are left out, counted from 0; nothing where there are none."""
    if not dead.any():
        return ()
    numbers = ", ".join(map(str, np.flatnonzero(dead)))
    plural = "s" * (int(dead.sum()) > 1)
    return (
        f"Coil{plural} {numbers} of 0 to {len(dead) - 1} recorded nothing but zeros in the image or in the noise scan, "
        "and took no part.",
    )
