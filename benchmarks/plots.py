"""Figures in one style: a colour a method, logarithmic axes, a line where the ratio is 1.

matplotlib comes with the extra `benchmarks`. Without it tables and JSON files are made all the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.ratios import Measurement, geometric_mean, ratios

# Mostly of Okabe and Ito 2008 (jfly.uni-koeln.de/color): distinct for colour-blind readers too.
COLOURS = {
    "raki": "#D55E00",
    "grappa": "#0072B2",
    "raki2019": "#009E73",
    "rraki": "#CC79A7",
    "iraki": "#E69F00",
    "public_raki": "#56B4E9",
    "public_iraki": "#7A5195",
    "pygrappa": "#8C6D31",
    "sigpy": "#4D4D4D",
    "bart_l1": "#332288",
    "bart_l2": "#88A0DC",
    "bart_l1_tuned": "#117733",
    "bart_l2_tuned": "#9AB87A",
}
OTHER_COLOUR = "#999999"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One plot of a quantity against a size, both logarithmic, a line a method."""

    title: str
    x_label: str
    y_label: str
    curves: Mapping[str, Mapping[int, float]]
    """Method, size, quantity."""


def why_no_plot() -> str:
    """What keeps plots from being drawn here; nothing if they can be."""
    return "" if find_spec("matplotlib") else "no plot: matplotlib isn't installed (pip install 'raki-mri[benchmarks]')"


def plot_ratios(measurements: Sequence[Measurement], methods: Sequence[str], opponent: str, path: Path) -> None:
    """NMSE ratios to the opponent over the acceleration: a point a case, a line through the geometric means."""
    n_acs_lines = sorted({one.case.n_acs_lines for one in measurements})
    figure = _figure(width=4.2 * len(n_acs_lines), height=4.2)
    panels = figure.subplots(1, len(n_acs_lines), sharey=True, squeeze=False)[0]
    for axes, n_lines in zip(panels, n_acs_lines, strict=True):
        for order, method in enumerate(methods):
            aside = 0.16 * (order - (len(methods) - 1) / 2)
            found = ratios(measurements, method, opponent)
            placed = {case: case.acceleration + aside for case in found if case.n_acs_lines == n_lines}
            _draw_ratios(axes, [(x, found[case]) for case, x in placed.items()], method)
        accelerations = sorted({one.case.acceleration for one in measurements})
        _finish_ratio_axis(axes, ticks=accelerations)
        axes.set_title(f"ACS of {n_lines} lines", fontsize=10)
        axes.set_xlabel("acceleration R")
    panels[0].set_ylabel(f"NMSE inside the object / that of {opponent.replace('_', ' ')}")
    panels[0].legend(frameon=False)
    figure.savefig(path, dpi=150)


def plot_growth(panels: Sequence[Panel], path: Path) -> None:
    """A panel beside the other; dotted, where a cost in proportion to the size would run."""
    figure = _figure(width=4.2 * len(panels), height=4.0)
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        sizes = sorted({size for curve in panel.curves.values() for size in curve})
        for method, curve in panel.curves.items():
            points = sorted(curve.items())
            axes.plot(*zip(*points, strict=True), "o-", color=colour(method), label=method, markersize=4)
            first_size, first = points[0]
            straight = [first * size / first_size for size, _ in points]
            axes.plot([size for size, _ in points], straight, ":", color=colour(method), linewidth=1)
        axes.set(xscale="log", yscale="log", title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.set_xticks([], minor=True)
        _plain_numbers(axes.yaxis)
        _quiet(axes)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def plot_time_and_error(results: Mapping[str, tuple[float, float]], title: str, path: Path) -> None:
    """Seconds against NMSE, a point a method; the best is at the bottom left."""
    figure = _figure(width=6.4, height=4.4)
    axes = figure.subplots()
    for method, (seconds, error) in results.items():
        axes.plot(seconds, error, "o", color=colour(method), markersize=9)
        axes.annotate(method, (seconds, error), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=9)
    axes.set(xscale="log", yscale="log", title=title, xlabel="seconds", ylabel="NMSE inside the object")
    axes.margins(0.18)
    _plain_numbers(axes.xaxis)
    _plain_numbers(axes.yaxis)
    _quiet(axes)
    figure.savefig(path, dpi=150)


def plot_stages(stage_seconds: Mapping[str, float], title: str, path: Path) -> None:
    """One bar a stage, its seconds beside it."""
    figure = _figure(width=6.4, height=0.9 + 0.45 * len(stage_seconds))
    axes = figure.subplots()
    bars = axes.barh(list(stage_seconds), list(stage_seconds.values()), color=COLOURS["raki"], height=0.6)
    axes.bar_label(bars, fmt="%.2f s", padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set(title=title, xlabel="seconds")
    _quiet(axes)
    figure.savefig(path, dpi=150)


def colour(method: str) -> str:
    """The colour of a method, the same in every figure."""
    return COLOURS.get(method, OTHER_COLOUR)


def _figure(*, width: float, height: float) -> Any:
    return import_module("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def _draw_ratios(axes: Any, points: Sequence[tuple[float, float]], method: str) -> None:
    axes.plot([x for x, _ in points], [y for _, y in points], "o", color=colour(method), alpha=0.35, markersize=4)
    positions = sorted({x for x, _ in points})
    means = [geometric_mean([y for x, y in points if x == here]) for here in positions]
    axes.plot(positions, means, "-", color=colour(method), label=method, linewidth=2)


def _finish_ratio_axis(axes: Any, *, ticks: Sequence[int]) -> None:
    axes.axhline(1.0, color="black", linewidth=1)
    axes.set_yscale("log")
    _plain_numbers(axes.yaxis)
    axes.set_xticks(ticks)
    _quiet(axes)


def _plain_numbers(axis: Any) -> None:
    """0.3, 0.5, 1, 2 in place of powers of ten, where an axis spans few of them."""
    ticker = import_module("matplotlib.ticker")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axis.set_minor_formatter(ticker.NullFormatter())


def _quiet(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
