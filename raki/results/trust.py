"""Why an image was made by this method and not another, and how far to trust it: the words of a report."""

from collections.abc import Mapping
from dataclasses import dataclass

from raki.images import Reconstruction, TakenApart
from raki.kspace import CrossValidation, ScatteredFills
from raki.kspace.scattered import FILLINGS
from raki.kspace.separation import SEPARATIONS


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A way of filling lines, among those that were tried on each image, from the plainest up."""

    label: str
    what: str
    taken_where: str
    n_filled: str
    """How many images it filled, of how many; empty where it is never taken."""


_ZEROS = Rung(label="Zero-filled", what="Leaves missing lines at zero.", taken_where="never; to compare", n_filled="")
_RUNGS = {
    "grappa": (
        "GRAPPA",
        "Predicts a missing line from its neighbours in all coils, as the calibration lines teach it.",
        "where no higher rung is better",
    ),
    "raki_linear": (
        "RAKI's linear kernel alone",
        "Learns again, from all of k-space as GRAPPA filled it.",
        "where it predicts acquired lines better than GRAPPA and shows as much of small structures",
    ),
    "raki": (
        "RAKI",
        "Takes noise away on top of that, by what all coils have in common.",
        "where points put into the scan stay as visible as GRAPPA shows them",
    ),
}


def ladder(reconstruction: Reconstruction) -> list[Rung]:
    """The methods that were tried on each image and how many each filled; nothing where none was chosen."""
    validation = reconstruction.cross_validation
    if validation is None:
        return []
    counted = "slices" if len(reconstruction.scan.frames) == 1 else "images"
    total = sum(validation.n_slices_by_choice.values())
    tried = [name for name in _RUNGS if name != "raki" or reconstruction.method == "raki"]
    filled = {name: f"{validation.n_slices_by_choice.get(name, 0)} of {total} {counted}" for name in tried}
    return [_ZEROS, *(_rung(name, n_filled) for name, n_filled in filled.items())]


def _rung(name: str, n_filled: str) -> Rung:
    label, what, taken_where = _RUNGS[name]
    return Rung(label=label, what=what, taken_where=taken_where, n_filled=n_filled)


def trust_rows(reconstruction: Reconstruction, g_factor: Mapping[str, float] | None) -> list[tuple[str, str]]:
    """What was measured, in words; nothing where no method was chosen and no slices were taken apart."""
    validation = reconstruction.cross_validation
    apart = [] if reconstruction.apart is None else _apart(reconstruction.apart)
    if reconstruction.scattered is not None:
        return [*_scattered(reconstruction.scattered), *_g_factor(g_factor)]
    if validation is None:
        return apart
    errors = (validation.held_out_error, validation.grappa_held_out_error)
    held_out = "not measured: the scan has no lines outside the calibration lines to predict"
    if errors[0] is not None and errors[1] is not None:
        held_out = f"{_percent(errors[0])} of their energy; GRAPPA {_percent(errors[1])}"
    source = "measured by the scan" if validation.noise_measured else "estimated from the lines"
    rows = [
        *apart,
        *_survival(validation),
        ("Error of the linear kernel in predicting acquired lines", held_out),
        ("Noise of one sample", f"{validation.noise_sigma:.3g} (standard deviation), {source}"),
    ]
    return [*rows, *_g_factor(g_factor)]


def _g_factor(g_factor: Mapping[str, float] | None) -> list[tuple[str, str]]:
    if g_factor is None:
        return []
    amplified = f"{g_factor['median']:.2f} in the median, 99 % of pixels below {g_factor['percentile_99']:.2f}"
    return [("g-factor inside the object", amplified)]


def _scattered(fills: ScatteredFills) -> list[tuple[str, str]]:
    total = sum(fills.n_by_filling.values())
    rows = [
        (f"Planes filled by {FILLINGS[way]}", f"{number} of {total}")
        for way, number in sorted(fills.n_by_filling.items())
    ]
    if fills.held_out_error is not None and fills.linear_held_out_error is not None:
        told = f"{_percent(fills.held_out_error)} of their energy; SPIRiT alone {_percent(fills.linear_held_out_error)}"
        rows.append(("Error in predicting acquired points that were withheld", told))
    if fills.structure_kept is not None:
        rows.append(("Shown of what SPIRiT shows of a structure of one pixel", _percent(fills.structure_kept)))
    return [*rows, ("Filled part of the plane of both phase-encode directions", _percent(fills.area))]


def _apart(apart: TakenApart) -> list[tuple[str, str]]:
    by = ", ".join(
        f"{SEPARATIONS[name]} ({n} of {apart.n_groups})" for name, n in apart.n_groups_by_choice.items() if n
    )
    leaked = f"{_percent(apart.leakage)} of its signal on average, {_percent(apart.worst_leakage)} at most"
    return [
        (f"{apart.n_bands} slices at once, taken apart by", by),
        ("Shown of a slice in another of its group", leaked),
        ("Energy measured that the slices lack when summed again", _percent(apart.residual)),
        ("Noise after taking apart, over that before", f"{apart.noise_gain:.2f}"),
    ]


def _survival(validation: CrossValidation) -> list[tuple[str, str]]:
    if validation.structure_kept is None or validation.grappa_structure_kept is None:
        return []
    kept = f"{_percent(validation.structure_kept)} of it; GRAPPA shows {_percent(validation.grappa_structure_kept)}"
    return [("Shown of a structure of one pixel", kept)]


def _percent(part: float) -> str:
    return f"{100 * part:.2g}\N{NO-BREAK SPACE}%" if part < 0.1 else f"{100 * part:.0f}\N{NO-BREAK SPACE}%"
