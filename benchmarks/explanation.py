"""`python -m benchmarks explanation`: what the explanation of an image says of structures that were put into it.

A structure is put in, and what it adds to each part of the image is told as a share of what it adds to the image of all
lines (see `benchmarks.features`); shares add up to what is shown of it. Then one acquired line is spoilt, as by a spike
of the receiver: the explanation has to name the octave of that line.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Annotated

import torch
import typer
from rich.table import Table

from benchmarks.features import Feature, every_pair, insert_features
from benchmarks.objects import OBJECTS, simulated_scan
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.coils import Image, root_sum_of_squares
from raki.images import object_mask
from raki.kspace import EXPLANATION_PARTS
from raki.kspace.explanation import OCTAVES, Explanation, explain
from raki.kspace.measured import MeasuredSlice, measured_slice, unit_scale
from raki.kspace.raki import Rung, climbed
from raki.planning import find_sampling
from raki.scan.fourier import SliceKSpace, to_image

CPU = torch.device("cpu")
N_ACS_LINES = 24
SHORT = dict(zip(EXPLANATION_PARTS, ("16 px+", "8 px", "4 px", "2 px", "coarse", "fine"), strict=True))
SPIKE = 30.0
"""Of a spoilt sample, over the root mean square of its line."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What one structure adds to an image, over what it adds to that of all lines."""

    scan: str
    kind: str
    place: str
    shown: float
    linear: float
    """By the linear kernel alone, which the parts from acquired lines add up to."""
    parts: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Spoilt:
    """Energy that a spike in a line brings into each part from acquired lines, over that in all of these."""

    scan: str
    octave: int
    shares: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Change:
    """How much of what was changed upon the linear kernel made good, inside the object."""

    scan: str
    size: float
    """Its energy over that of the linear kernel's error."""
    right: float
    """Projection of that error onto it: 1, all of it was error; 0, none was."""


def explanation(
    objects: Annotated[str, typer.Option(help="Simulated objects, with commas.")] = ",".join(OBJECTS),
    acceleration: Annotated[int, typer.Option("--acceleration", "-R", min=2)] = 4,
    coils: Annotated[int, typer.Option(min=2)] = 12,
    matrix: Annotated[int, typer.Option(min=64)] = 192,
    snr: Annotated[float, typer.Option(min=1)] = 30.0,
    seed: int = 0,
    output: Output = RESULTS,
) -> None:
    """What explanations say of structures put in, of a spoilt line, and how much of the change made good."""
    explained, spoilt, changes = [], [], []
    for name in objects.split(","):
        full = simulated_scan(name, n_coils=coils, matrix=matrix, snr=snr, seed=seed).kspace[0]
        full = full / unit_scale(full)
        for faint in (False, True):
            wanted = every_pair(faint=faint)
            with_them, features = insert_features(full, seed, acceleration=acceleration, wanted=wanted)
            explained += list(_of_structures(name, full, with_them, features, acceleration))
        spoilt += list(_of_spikes(name, full, acceleration))
        changes.append(_of_change(name, full, acceleration))
    _show(explained, spoilt, changes)
    facts = {
        "explained": [asdict(one) for one in explained],
        "spoilt": [asdict(one) for one in spoilt],
        "changes": [asdict(one) for one in changes],
    }
    write_record(output, "explanation", facts)


def _of_structures(
    scan: str, full: SliceKSpace, with_them: SliceKSpace, features: Sequence[Feature], acceleration: int
) -> Iterator[Explained]:
    before, after = (_explained(kspace, acceleration) for kspace in (full, with_them))
    truth = _image(with_them) - _image(full)
    for one in features:
        wanted = truth[one.support]
        parts = {
            name: float(((getattr(after, name) - getattr(before, name))[one.support] * wanted).sum())
            / float(wanted.square().sum())
            for name in EXPLANATION_PARTS
        }
        linear = sum(share for name, share in parts.items() if name.startswith("leaned"))
        yield Explained(
            scan=scan, kind=one.kind, place=one.place, shown=sum(parts.values()), linear=linear, parts=parts
        )


def _of_spikes(scan: str, full: SliceKSpace, acceleration: int) -> Iterator[Spoilt]:
    """One sample of a line in the middle of each octave but the first, whose lines calibrate the kernel."""
    measured = _measured(full, acceleration)
    rung, _ = climbed(measured, seed=0)
    before = explain(rung.linear.filled(measured), measured, rung.linear)
    n_pe, n_ro = full.shape[1:]
    lines = measured.known[:, 0].nonzero().flatten()
    for octave in OCTAVES[1:]:
        line = int(lines[(lines - (n_pe // 2 + 0.75 * n_pe / octave)).abs().argmin()])
        kspace = measured.kspace.clone()
        kspace[:, line, n_ro // 2 + 3] += SPIKE * kspace[:, line].abs().square().mean().sqrt()
        hurt = MeasuredSlice(**{**vars(measured), "kspace": kspace})
        after = explain(rung.linear.filled(hurt), hurt, rung.linear)
        energies = {
            name: float((getattr(after, name) - getattr(before, name)).square().sum())
            for name in EXPLANATION_PARTS
            if name.startswith("leaned")
        }
        yield Spoilt(
            scan=scan, octave=octave, shares={name: each / sum(energies.values()) for name, each in energies.items()}
        )


def _of_change(scan: str, full: SliceKSpace, acceleration: int) -> Change:
    measured = _measured(full, acceleration)
    rung, _ = climbed(measured, seed=0)
    inside = object_mask(_image(full))
    linear = _image(rung.linear.filled(measured))
    change, error = ((other - linear)[inside] for other in (_image(rung.filled), _image(full)))
    energy = float(change.square().sum())
    right = float((change * error).sum()) / energy if energy > 0 else 0.0
    return Change(scan=scan, size=energy / float(error.square().sum()), right=right)


def _explained(full: SliceKSpace, acceleration: int) -> Explanation:
    measured = _measured(full, acceleration)
    rung: Rung = climbed(measured, seed=0)[0]
    return explain(rung.filled, measured, rung.linear)


def _measured(full: SliceKSpace, acceleration: int) -> MeasuredSlice:
    n_pe = full.shape[1]
    sampled = torch.arange(n_pe) % acceleration == n_pe // 2 % acceleration
    first = n_pe // 2 - N_ACS_LINES // 2
    sampled[first : first + N_ACS_LINES] = True
    acs = full[:, first : first + N_ACS_LINES]
    sampling = find_sampling(sampled.numpy())
    return measured_slice(torch.where(sampled[:, None], full, 0), acs, sampling, sigma=None, device=CPU)


def _image(kspace: SliceKSpace) -> Image:
    return root_sum_of_squares(to_image(kspace))


def _show(explained: Sequence[Explained], spoilt: Sequence[Spoilt], changes: Sequence[Change]) -> None:
    by_kind: dict[str, list[Explained]] = defaultdict(list)
    for one in explained:
        by_kind[one.kind].append(one)
    table = Table("structure", "n", "shown", "linear", *SHORT.values())
    for kind, some in sorted(by_kind.items()):
        parts = [f"{fmean(one.parts[name] for one in some):.2f}" for name in EXPLANATION_PARTS]
        table.add_row(
            kind,
            str(len(some)),
            f"{fmean(one.shown for one in some):.2f}",
            f"{fmean(one.linear for one in some):.2f}",
            *parts,
        )
    CONSOLE.print(table)
    spikes = Table(
        "scan", "spike in a line of", *[SHORT[name] for name in EXPLANATION_PARTS if name in spoilt[0].shares]
    )
    for hurt in spoilt:
        spikes.add_row(
            hurt.scan, f"{hurt.octave} to {2 * hurt.octave} px", *[f"{share:.3f}" for share in hurt.shares.values()]
        )
    CONSOLE.print(spikes)
    made_good = Table("scan", "change over error (energy)", "right")
    for each in changes:
        made_good.add_row(each.scan, f"{each.size:.3f}", f"{each.right:.2f}")
    CONSOLE.print(made_good)
