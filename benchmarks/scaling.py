"""How long scans wait for machines and what these cost: the fleet's real decisions over a simulated week."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from benchmarks.arrivals import Arrival, arrivals
from benchmarks.fleet import Fleet
from benchmarks.fleet_before import Before
from benchmarks.fleet_now import Now
from benchmarks.fleet_parts import Decisions, Times, decompress_s, reconstruct_s
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from infra.costs.estimate import WORKER
from infra.costs.formulas import SHORTEST_MINUTES, Task, fargate
from infra.costs.price_list import read_prices
from infra.deployment import Deployment

PROFILES = {200: "minimal", 2000: "clinic", 10000: "research"}
"""The profile that such a load is for; another load gets that of the nearest."""
REPORTED_SEEDS = (11, 12)
"""Parameters were chosen on seed 1."""
ORACLE = "an oracle"


@dataclass(frozen=True, kw_only=True)
class Prices:
    """US dollars a second."""

    task: float
    instance: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of some simulated weeks under one set of decisions."""

    decisions: str
    scans_a_day: int
    p50_s: float
    """Of the wait from the drop to the images, beyond pure computing; so the others."""
    p95_s: float
    p99_s: float
    task_busy: float
    """Part of the tasks' paid time in which they work."""
    instance_busy: float
    usd_a_day: float
    busy_usd_a_day: float
    """What the seconds of work alone would cost."""

    @property
    def cost_ratio(self) -> float:
        """Cost over that of the seconds of work alone."""
        return self.usd_a_day / self.busy_usd_a_day


def scaling(
    output: Output = RESULTS,
    scans_a_day: Annotated[list[int] | None, typer.Option(min=1, help="In the mean over a week.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="A week each.")] = None,
    warm_hours: Annotated[int, typer.Option(min=0, max=24, help="Of a day, in which a GPU may be kept warm.")] = 0,
) -> None:
    """Waits and cost of the fleet's decisions, as they were and as they are, over simulated weeks."""
    prices, seeds = _prices(), seed or list(REPORTED_SEEDS)
    outcomes = []
    for load in scans_a_day or list(PROFILES):
        weeks = {one: arrivals(load, seed=one) for one in seeds}
        for name, make in candidates(load, warm_hours=warm_hours).items():
            fleets = [Fleet(make(one), weeks[one], seed=one, times=Times()).run() for one in seeds]
            outcomes.append(outcome(name, load, fleets, prices))
            CONSOLE.print(f"{load} a day, {name}: done", highlight=False)
        outcomes.append(oracle(load, list(weeks.values()), prices))
    _show(outcomes)
    facts = {"seeds": seeds, "times_s": asdict(Times()), "usd_a_second": asdict(prices), "warm_hours": warm_hours}
    facts |= {"outcomes": [asdict(one) | {"cost_ratio": one.cost_ratio} for one in outcomes]}
    write_record(output, "scaling", facts, lambda path: _draw(outcomes, path))


def candidates(load: int, *, warm_hours: int) -> dict[str, Callable[[int], Decisions]]:
    """By name, what makes the decisions for the week of a seed."""
    nearest = min(PROFILES, key=lambda one: abs(math.log(one / load)))
    deployment = Deployment.from_context({"raki:profile": PROFILES[nearest]})
    workers, jobs = deployment.max_decompression_workers, deployment.max_reconstruction_jobs

    def now(seed: int, *, is_told: bool) -> Decisions:
        return Now(
            max_workers=workers,
            max_jobs=jobs,
            surge=deployment.surge,
            is_told=is_told,
            week=arrivals(load, seed=seed + 1000),  # another one, of the same course
            warm_hours=warm_hours,
        )

    return {
        "before": lambda _seed: Before(max_workers=workers, max_jobs=jobs),
        "each minute": lambda seed: now(seed, is_told=False),
        "at each drop too": lambda seed: now(seed, is_told=True),
    }


def outcome(name: str, load: int, fleets: Sequence[Fleet], prices: Prices) -> Outcome:
    """Takes the weeks together."""
    waits = sorted(scan.waited_s for fleet in fleets for scan in fleet.scans)
    work = _work([scan.arrival for fleet in fleets for scan in fleet.scans])
    tasks = [seconds for fleet in fleets for seconds in fleet.bill.task_s]
    instances = [seconds for fleet in fleets for seconds in fleet.bill.instance_s]
    days = 7 * len(fleets)
    return Outcome(
        decisions=name,
        scans_a_day=load,
        p50_s=quantile(waits, 0.5),
        p95_s=quantile(waits, 0.95),
        p99_s=quantile(waits, 0.99),
        task_busy=work.task / sum(tasks),
        instance_busy=work.instance / sum(instances),
        usd_a_day=(prices.task * _billed(tasks) + prices.instance * _billed(instances)) / days,
        busy_usd_a_day=(prices.task * work.task + prices.instance * work.instance) / days,
    )


def oracle(load: int, weeks: Sequence[Sequence[Arrival]], prices: Prices) -> Outcome:
    """Who knows all arrivals: nobody waits, and each machine is started so that it is just ready.

    A machine that is free is kept for the next scan where that is cheaper than starting one for it, and starting costs
    its shortest time.
    """
    times = Times()
    task_start_s = times.task_start[0]
    instance_start_s = times.instance_boot[0] + times.image_pull[0] + times.job_start[0]
    tasks = instances = 0.0
    for week in weeks:
        unpacking = [(one.at_s, one.at_s + decompress_s(one.gb)) for one in week]
        filling = [(end, end + reconstruct_s(one.gb)) for (_, end), one in zip(unpacking, week, strict=True)]
        tasks += just_in_time_s(unpacking, start_s=task_start_s)
        instances += just_in_time_s(sorted(filling), start_s=instance_start_s)
    work, days = _work([one for week in weeks for one in week]), 7 * len(weeks)
    return Outcome(
        decisions=ORACLE,
        scans_a_day=load,
        p50_s=0.0,
        p95_s=0.0,
        p99_s=0.0,
        task_busy=work.task / tasks,
        instance_busy=work.instance / instances,
        usd_a_day=(prices.task * tasks + prices.instance * instances) / days,
        busy_usd_a_day=(prices.task * work.task + prices.instance * work.instance) / days,
    )


def just_in_time_s(work: Sequence[tuple[float, float]], *, start_s: float) -> float:
    """Machine seconds that are paid for work from begin to end, sorted by begin, of which none ever waits."""
    free: list[float] = []
    paid = 0.0
    for begin, end in work:
        free = [since for since in free if since > begin - start_s]
        ready = [since for since in free if since <= begin]
        if ready:
            free.remove(max(ready))
            paid += begin - max(ready)
        else:
            paid += start_s
        paid += end - begin
        free.append(end)
    return paid


def quantile(ordered: Sequence[float], part: float) -> float:
    """The value that `part` of the sorted values don't exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def _prices() -> Prices:
    numbers = read_prices().numbers
    hour = fargate(Task(**WORKER, architecture="x86_64"), 60, numbers)
    return Prices(task=hour / 3600, instance=numbers.g5_xlarge_hour * numbers.spot_factor / 3600)


def _work(week: Sequence[Arrival]) -> Prices:
    """Seconds of work for tasks and for instances."""
    return Prices(task=sum(decompress_s(one.gb) for one in week), instance=sum(reconstruct_s(one.gb) for one in week))


def _billed(seconds: Sequence[float]) -> float:
    return sum(max(60.0 * SHORTEST_MINUTES, one) for one in seconds)


def _show(outcomes: Sequence[Outcome]) -> None:
    table = Table(title="Wait from the drop to the images beyond computing, and cost")
    for column in ("scans a day", "decisions", "p50", "p95", "p99", "tasks busy", "GPUs busy", "USD a day", "to busy"):
        table.add_column(column, justify="left" if column == "decisions" else "right")
    for one in outcomes:
        table.add_row(
            str(one.scans_a_day),
            one.decisions,
            *(f"{seconds:.0f} s" for seconds in (one.p50_s, one.p95_s, one.p99_s)),
            *(f"{100 * part:.0f} %" for part in (one.task_busy, one.instance_busy)),
            f"{one.usd_a_day:.2f}",
            f"{one.cost_ratio:.2f}",
            end_section=one.decisions == ORACLE,
        )
    CONSOLE.print(table)


def _draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Wait against cost: a panel a load, a point for each of the decisions."""
    loads = sorted({one.scans_a_day for one in outcomes})
    figure = import_module("matplotlib.figure").Figure(figsize=(4 * len(loads), 3.8), layout="constrained")
    panels: Any = figure.subplots(1, len(loads), squeeze=False)[0]
    for (axes, load), one in product(zip(panels, loads, strict=True), outcomes):
        if one.scans_a_day != load:
            continue
        waits = [one.p50_s, one.p95_s]
        (line,) = axes.plot([one.cost_ratio] * 2, waits, "-", linewidth=2)
        axes.plot([one.cost_ratio], waits[:1], "o", color=line.get_color(), label=one.decisions)
        axes.set(title=f"{load} scans a day", xlabel="cost over that of busy seconds", ylabel="wait p50 to p95, s")
        axes.set_yscale("symlog", linthresh=10)
        axes.grid(alpha=0.25)
    panels[0].legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
