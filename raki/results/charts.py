"""Charts for the report, as coordinates: what is drawn where. The template draws it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from raki.kspace import TrainingPoint
from raki.scan.arrays import LineMask, PointMask


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A line of a chart, in the chart's coordinates: SVG points, and how high it ends."""

    label: str
    points: str
    end_y: float
    last_value: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Losses over steps with a logarithmic axis. Ticks are (coordinate, label)."""

    width: int
    height: int
    curves: list[Curve]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]

    def labels(self) -> list[tuple[Curve, float]]:
        """Each curve with the height of its label: beside its end, or below another label that is in the way."""
        placed: list[tuple[Curve, float]] = []
        for curve in sorted(self.curves, key=lambda curve: curve.end_y):
            lowest = placed[-1][1] + 15 if placed else 0
            placed.append((curve, max(curve.end_y + 4, lowest)))
        return placed


def mask_paths(sampled: LineMask, acs_lines: tuple[int, int] | None) -> dict[str, Any]:
    """SVG paths, one unit a line: acquired lines of the ACS, and the others; and whether that is all of them."""
    in_acs = np.zeros_like(sampled)
    if acs_lines is not None:
        in_acs[slice(*acs_lines)] = True
    return {
        "n_pe": sampled.size,
        "n_pe2": None,
        "is_complete": bool(sampled.all()),
        "acs": _bars(sampled & in_acs),
        "lattice": _bars(sampled & ~in_acs),
    }


def plane_paths(points: PointMask, block: tuple[int, int, int, int] | None) -> dict[str, Any]:
    """As `mask_paths` for points of both phase-encode directions, one unit a point; partitions one below another."""
    in_acs = np.zeros_like(points)
    if block is not None:
        in_acs[block[0] : block[1], block[2] : block[3]] = True

    def path(marked: PointMask) -> str:
        return "".join(_bars(marked[:, number], number) for number in range(marked.shape[1]))

    return {
        "n_pe": points.shape[0],
        "n_pe2": points.shape[1],
        "is_complete": bool(points.all()),
        "acs": path(points & in_acs),
        "lattice": path(points & ~in_acs),
    }


def _bars(marked: LineMask, row: int = 0) -> str:
    edges = np.flatnonzero(np.diff(marked.astype(np.int8), prepend=0, append=0)).tolist()
    return "".join(
        f"M{start} {row}H{stop}V{row + 1}H{start}Z" for start, stop in zip(edges[::2], edges[1::2], strict=True)
    )


def training_chart(curve: Sequence[TrainingPoint], *, width: int = 640, height: int = 260) -> Chart | None:
    """Training and validation loss over the steps, or None where there are fewer than two points to join.

    A loss that is not a positive number has no place on a logarithmic axis and is left out.
    """
    losses = {
        "training": [(float(point.step), point.training_loss) for point in curve],
        "validation": [(float(point.step), point.validation_loss) for point in curve],
    }
    drawn = {label: [(x, y) for x, y in points if 0 < y < math.inf] for label, points in losses.items()}
    drawn = {label: points for label, points in drawn.items() if len(points) > 1}
    if not drawn:
        return None
    steps = [x for points in drawn.values() for x, _ in points]
    logs = [math.log10(y) for points in drawn.values() for _, y in points]
    # At least a factor of six from bottom to top: what is nearly constant looks it, and the axis has two marks.
    middle, half = (min(logs) + max(logs)) / 2, max((max(logs) - min(logs)) / 2, math.log10(6) / 2)
    low, high = middle - half, middle + half
    x_scale = _scale(min(steps), max(steps), 64.0, width - 120.0)
    y_scale = _scale(low, high, height - 40.0, 16.0)
    return Chart(
        width=width,
        height=height,
        curves=[_curve(label, points, x_scale, y_scale) for label, points in drawn.items()],
        x_ticks=[(x_scale(step), f"{step:g}") for step in _ticks(min(steps), max(steps))],
        y_ticks=[(y_scale(math.log10(loss)), f"{loss:g}") for loss in _log_ticks(low, high)],
    )


def _curve(
    label: str,
    points: Sequence[tuple[float, float]],
    x_scale: Callable[[float], float],
    y_scale: Callable[[float], float],
) -> Curve:
    placed = [(x_scale(step), y_scale(math.log10(loss))) for step, loss in points]
    return Curve(
        label=label,
        points=" ".join(f"{x:.1f},{y:.1f}" for x, y in placed),
        end_y=placed[-1][1],
        last_value=points[-1][1],
    )


def _scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (stop - start)


def _ticks(low: float, high: float) -> list[float]:
    """Four to nine round numbers between `low` and `high`."""
    step = 10.0 ** math.floor(math.log10(max(high - low, 1)))
    step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if (high - low) / (step * part) < 9)
    return [tick * step for tick in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten between two logarithms; 1, 2 and 5 times them where there are two powers at most."""
    multiples = (1,) if high - low > 2 else (1, 2, 5)
    ticks = [float(f"{part}e{power}") for power in range(math.floor(low), math.ceil(high) + 1) for part in multiples]
    return [tick for tick in ticks if low <= math.log10(tick) <= high]
