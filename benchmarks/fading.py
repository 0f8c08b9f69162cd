"""`python -m benchmarks features`: does a structure fade that GRAPPA shows?"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track
from rich.table import Table
from torch import Tensor

from benchmarks.exams import (
    Accelerations,
    AcsSizes,
    Coils,
    Exam,
    Matrices,
    Scans,
    Simulated,
    SlicesOfEach,
    Snrs,
    chosen_exams,
    objects_of,
)
from benchmarks.features import KINDS, Feature, Response, every_pair, insert_features, judge
from benchmarks.filling import Fill, TunedFill, settled
from benchmarks.opponents import can_fill, fills
from benchmarks.plots import colour
from benchmarks.ratios import Case
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.coils import Image, root_sum_of_squares
from raki.scan.fourier import KSpace, SliceKSpace, to_image

GRAPPA = "grappa"
# GRAPPA shows a structure of which it leaves this part; of others no ratio is taken.
SHOWN = 0.5
# Goals beside GRAPPA: amplitude over all places and at each, and energy of ghosts.
LEAST_MEAN, LEAST_ANYWHERE, MOST_GHOST = 0.95, 0.9, 2.0


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What one method shows of one structure."""

    case: Case
    method: str
    set_index: int
    """Which of the case's sets it was put in with."""
    response: Response

    @property
    def key(self) -> tuple[Case, int, str, str]:
        """What the structure has in common with that of another method."""
        return self.case, self.set_index, self.response.kind, self.response.place


@dataclass(frozen=True, kw_only=True)
class Fading:
    """One kind of structure in one method, over all cases and places."""

    kind: str
    method: str
    n_places: int
    amplitude: float
    """Mean."""
    least: float
    width: float | None
    """Mean of those that have one."""
    ghost: float
    """Mean of the energies where fold-over puts the structure, over its own."""
    amplitude_over_grappa: float
    """Mean over mean."""
    least_over_grappa: float | None
    """The least ratio where GRAPPA shows it; None if it shows none."""
    least_where: str
    n_shown_by_grappa: int
    ghost_over_grappa: float | None
    """Mean over mean; None if GRAPPA has none."""

    @property
    def is_kept(self) -> bool:
        least_anywhere = 1.0 if self.least_over_grappa is None else self.least_over_grappa
        return self.amplitude_over_grappa >= LEAST_MEAN and least_anywhere >= LEAST_ANYWHERE

    @property
    def has_few_ghosts(self) -> bool:
        return self.ghost_over_grappa is None or self.ghost_over_grappa <= MOST_GHOST


def features(
    scans: Scans = None,
    method: Annotated[list[str] | None, typer.Option(help="Beside GRAPPA; repeatable. [raki]")] = None,
    acceleration: Accelerations = None,
    acs: AcsSizes = None,
    slices: SlicesOfEach = 1,
    sets: Annotated[int, typer.Option(min=1, help="Of strong structures, and of faint ones; each is a run.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the places.")] = 0,
    simulated: Simulated = False,
    coils: Coils = None,
    matrix: Matrices = None,
    snr: Snrs = None,
    output: Output = RESULTS,
) -> None:
    """Lines, points, gratings and faint lesions in fully sampled scans: what is left of them, beside GRAPPA."""
    methods = list(dict.fromkeys([GRAPPA, *(method or ["raki"])]))
    try:
        how = fills(methods)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    exams = chosen_exams(scans, acceleration, acs, slices=slices, simulated=objects_of(simulated, coils, matrix, snr))
    shown = [one for exam in track(exams, "measuring", console=CONSOLE) for one in look(exam, how, sets, seed)]
    found = [fading(shown, kind, name) for kind in KINDS for name in methods if _of(shown, kind, name)]
    ghosts = {
        name: {group: ghosts_over_grappa(shown, name, faint=group == "faint") for group in ("strong", "faint")}
        for name in methods
        if name != GRAPPA
    }
    _show(found, ghosts)
    facts = {
        "goals": {"mean": LEAST_MEAN, "anywhere": LEAST_ANYWHERE, "ghost": MOST_GHOST},
        "fading": [asdict(one) | {"is_kept": one.is_kept, "has_few_ghosts": one.has_few_ghosts} for one in found],
        "ghosts_of_all_over_grappa": ghosts,
        "shown": [asdict(one) | {"case": one.case._asdict()} for one in shown],
    }
    write_record(output, "features", facts, lambda path: _draw(shown, methods, path))


def look(exam: Exam, how: Mapping[str, Fill | TunedFill], n_sets: int, seed: int) -> Iterator[Shown]:
    """Put sets of structures into each slice of one exam, and see what each method shows of them.

    A method that is tuned by the answer is tuned on the scan without structures.
    """
    lines = exam.lines
    for position, full in enumerate(exam.scan.kspace):
        case = exam.case(position)
        with_features = list(feature_sets(full, lines.acceleration, n_sets, seed + zlib.crc32(repr(case).encode())))
        for name, method in how.items():
            if not can_fill(name, lines):
                continue
            fill, _ = settled(method, full[None], lines)
            image = _image(fill(lines.applied_to(full[None]), lines))
            for set_index, (kspace, put_in) in enumerate(with_features):
                image_with = _image(fill(lines.applied_to(kspace[None]), lines))
                for response in judge(put_in, image, image_with, _image(full), _image(kspace)):
                    yield Shown(case=case, method=name, set_index=set_index, response=response)


def feature_sets(
    full: SliceKSpace, acceleration: int, n_sets: int, seed: int
) -> Iterator[tuple[SliceKSpace, list[Feature]]]:
    """At most `n_sets` sets of strong structures and as many of faint ones, each what there was no room for before."""
    for faint in (False, True):
        wanted = every_pair(faint=faint)
        for set_index in range(n_sets):
            kspace, put_in = insert_features(full, seed + set_index, acceleration=acceleration, wanted=wanted)
            if not put_in:
                break
            yield kspace, put_in
            wanted = [pair for pair in wanted if pair not in {(one.kind, one.place) for one in put_in}]


def fading(shown: Sequence[Shown], kind: str, method: str) -> Fading:
    """One kind in one method beside GRAPPA at the same places of the same cases."""
    mine, other = _of(shown, kind, method), _of(shown, kind, GRAPPA)
    shared = {key: (mine[key], other[key]) for key in mine}
    ratios = {key: a.amplitude / b.amplitude for key, (a, b) in shared.items() if b.amplitude >= SHOWN}
    worst = min(ratios, key=lambda key: ratios[key], default=None)
    amplitude, ghost = _mean([a.amplitude for a, _ in shared.values()]), _mean([a.ghost for a, _ in shared.values()])
    grappa_ghost = _mean([b.ghost for _, b in shared.values()])
    widths = [a.width for a, _ in shared.values() if a.width is not None]
    return Fading(
        kind=kind,
        method=method,
        n_places=len(shared),
        amplitude=amplitude,
        least=min(a.amplitude for a, _ in shared.values()),
        width=_mean(widths) if widths else None,
        ghost=ghost,
        amplitude_over_grappa=amplitude / _mean([b.amplitude for _, b in shared.values()]),
        least_over_grappa=None if worst is None else ratios[worst],
        least_where="" if worst is None else _words(worst),
        n_shown_by_grappa=len(ratios),
        ghost_over_grappa=ghost / grappa_ghost if grappa_ghost > 0 else None,
    )


def ghosts_over_grappa(shown: Sequence[Shown], method: str, *, faint: bool) -> dict[str, float]:
    """Energy outside all neighbourhoods over GRAPPA's, for sets of lesions or for the others.

    Returns mean over mean, and the most of any set.
    """
    chosen = [one for one in shown if one.response.kind.startswith("lesion") == faint]
    mine, grappa = (
        {(one.case, one.set_index): one.response.ghost_of_all for one in chosen if one.method == name}
        for name in (method, GRAPPA)
    )
    pairs = [(energy, grappa[key]) for key, energy in mine.items()]
    if not pairs:
        return {}
    return {
        "mean": sum(energy for energy, _ in pairs) / sum(of_grappa for _, of_grappa in pairs),
        "most": max(energy / of_grappa for energy, of_grappa in pairs),
    }


def _of(shown: Sequence[Shown], kind: str, method: str) -> dict[tuple[Case, int, str, str], Response]:
    return {one.key: one.response for one in shown if (one.response.kind, one.method) == (kind, method)}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _words(key: tuple[Case, int, str, str]) -> str:
    case, _, _, place = key
    return f"{case.scan} slice {case.slice_index} R={case.acceleration} ACS {case.n_acs_lines}, {place}"


def _image(kspace: KSpace) -> Image:
    """Of one slice, `pe ro`."""
    image: Tensor = root_sum_of_squares(to_image(kspace))
    return image.reshape(image.shape[-2:])


def _show(found: Sequence[Fading], ghosts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    alone = _table("What is left of structures", "places", "amplitude", "least", "width", "ghost")
    beside = _table("The same beside GRAPPA", "amplitude", "least", "kept", "ghost", "few")
    beside.add_column("least where")
    for one in found:
        figures = f"{one.amplitude:.3f}", f"{one.least:.3f}", _cell(one.width), f"{one.ghost:.4f}"
        alone.add_row(one.kind, one.method, str(one.n_places), *figures)
        if one.method != GRAPPA:
            kept, few = ("yes" if goal else "no" for goal in (one.is_kept, one.has_few_ghosts))
            ratios = f"{one.amplitude_over_grappa:.3f}", _cell(one.least_over_grappa), kept
            beside.add_row(one.kind, one.method, *ratios, _cell(one.ghost_over_grappa), few, one.least_where)
    CONSOLE.print(alone)
    CONSOLE.print(beside)
    for method, groups in ghosts.items():
        for group, ratio in groups.items():
            words = ", ".join(f"{which} {value:.2f}" for which, value in ratio.items())
            CONSOLE.print(f"{method}: ghosts of sets of {group} structures over GRAPPA's: {words}", highlight=False)


def _table(title: str, *figures: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("kind", "method"):
        table.add_column(heading)
    for heading in figures:
        table.add_column(heading, justify="right")
    return table


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _draw(shown: Sequence[Shown], methods: Sequence[str], path: Path) -> None:
    """Amplitude at each place, a column a kind; the bar is the mean."""
    figure = import_module("matplotlib.figure").Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.axhline(1.0, color="black", linewidth=1)
    for order, method in enumerate(methods):
        aside = 0.6 * ((order + 0.5) / len(methods) - 0.5)
        for column, kind in enumerate(KINDS):
            amplitudes = [one.amplitude for one in _of(shown, kind, method).values()]
            if amplitudes:
                label = method if column == 0 else None
                places = torch.linspace(-0.1, 0.1, len(amplitudes)).div(len(methods)).add(column + aside).tolist()
                axes.plot(places, amplitudes, ".", color=colour(method), alpha=0.5, label=label)
                axes.plot(column + aside, _mean(amplitudes), "_", color=colour(method), markersize=16)
    axes.set_xticks(range(len(KINDS)), [kind.replace("_", " ") for kind in KINDS])
    axes.set_ylabel("amplitude over that of the full scan")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
