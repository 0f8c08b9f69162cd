"""`python -m benchmarks starts`: what a published network gains when it starts from weights trained on another scan.

RAKI (2019) and rRAKI are trained on the calibration lines of each scan from a random start. Here they start from what
the same network had come to on an earlier scan: of the same place in another contrast (as in `benchmarks.models`), of
the next slice, and of another scan of as many coils; and are trained for a part of the steps.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import product
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from torch import nn

from benchmarks.exams import Scans
from benchmarks.models import CPU, error_of, later_scan, lines_of, loaded_scans
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.kspace import FillSettings, complete
from raki.kspace.published import raki2019, rraki
from raki.kspace.published.descent import Schedule
from raki.kspace.published.raki2019 import fill_by_networks
from raki.planning import find_sampling
from raki.scan.fourier import SliceKSpace

N_ACS_LINES = 24
NETWORKS: dict[str, tuple[Callable[..., nn.Module], float, Schedule]] = {
    "raki2019": (raki2019.RakiNetworks, raki2019.PEAK_MAGNITUDE, raki2019.PAPER),
    "rraki": (rraki.ResidualNetworks, rraki.PEAK_MAGNITUDE, rraki.PAPER),
}
PARTS_OF_THE_STEPS = (1.0, 0.3, 0.1, 0.03)


@dataclass(frozen=True, kw_only=True)
class Started:
    """NMSE of one slice inside the object, by a network after a part of its steps, from several starts."""

    scan: str
    network: str
    acceleration: int
    part_of_steps: float
    random: float
    same: float
    """From the same place in another contrast."""
    following: float | None
    """From the next slice."""
    foreign: float | None
    """From another scan."""
    by_raki: float
    """By raki, without any network."""
    seconds: float
    """Of the training from the random start."""


def starts(
    scans: Scans = None,
    accelerations: Annotated[str, typer.Option(help="R, with commas.")] = "3,4",
    steps: Annotated[float, typer.Option(help="Of the published number of steps, so many parts.")] = 1.0,
    output: Output = RESULTS,
) -> None:
    """NMSE by published networks that start from weights of another scan, by how long they are trained on this one."""
    torch.set_num_threads(1)  # products are small, and threads wait for each other
    found = list(_measured(scans, [int(step) for step in accelerations.split(",")], steps))
    table = Table(
        "scan", "network", "R", "steps", "random start", "same place", "next slice", "other scan", "raki", "s"
    )
    for one in found:
        errors = (one.random, one.same, one.following, one.foreign, one.by_raki)
        cells = ["" if error is None else f"{error:.4f}" for error in errors]
        table.add_row(
            one.scan, one.network, str(one.acceleration), f"{one.part_of_steps:.0%}", *cells, f"{one.seconds:.1f}"
        )
    CONSOLE.print(table)
    write_record(output, "starts", {"measurements": [asdict(one) for one in found]})


def _measured(scans: Scans, accelerations: list[int], steps: float) -> Iterator[Started]:
    loaded = loaded_scans(scans, n_slices=2)
    for (name, kspace), acceleration, network in product(loaded.items(), accelerations, NETWORKS):
        foreign = next(
            (other for key, other in loaded.items() if key != name and other.shape[1] == kspace.shape[1]), None
        )
        earlier = {
            "same": later_scan(kspace[0]),
            "following": kspace[1] if len(kspace) > 1 else None,
            "foreign": None if foreign is None else foreign[0],
        }
        trained = {
            where: None if full is None else _filled(network, full, acceleration, steps)[1]
            for where, full in earlier.items()
        }
        masked = kspace[0] * lines_of(len(kspace[0][0]), acceleration, N_ACS_LINES)[:, None]
        by_raki = error_of(complete(masked, device=CPU)[0], kspace[0])
        for part in PARTS_OF_THE_STEPS:
            began = time.perf_counter()
            random, _ = _filled(network, kspace[0], acceleration, part * steps)
            seconds = time.perf_counter() - began
            errors = {
                where: error_of(_filled(network, kspace[0], acceleration, part * steps, start)[0], kspace[0])
                for where, start in trained.items()
                if start is not None
            }
            yield Started(
                scan=name,
                network=network,
                acceleration=acceleration,
                part_of_steps=part,
                random=error_of(random, kspace[0]),
                same=errors["same"],
                following=errors.get("following"),
                foreign=errors.get("foreign"),
                by_raki=by_raki,
                seconds=seconds,
            )


def _filled(
    network: str, full: SliceKSpace, acceleration: int, part_of_steps: float, start: dict[str, Any] | None = None
) -> tuple[SliceKSpace, dict[str, Any]]:
    """A slice as a network fills it, and the weights that it came to."""
    make, peak, published = NETWORKS[network]
    made: list[nn.Module] = []

    def begun(*arguments: Any) -> nn.Module:
        made.append(make(*arguments))
        if start is not None:
            made[-1].load_state_dict(start)
        return made[-1]

    lines = lines_of(len(full[0]), acceleration, N_ACS_LINES)
    sampling = find_sampling(lines.numpy())
    masked = full * lines[:, None]
    acs = masked[:, slice(*(sampling.acs_lines or (0, 0)))]
    schedule = Schedule(n_steps=max(1, round(part_of_steps * published.n_steps)), learning_rate=published.learning_rate)
    filled, _ = fill_by_networks(begun, peak, masked, acs, sampling, FillSettings(device=CPU), schedule)
    return filled, {name: weights.detach().clone() for name, weights in made[0].state_dict().items()}
