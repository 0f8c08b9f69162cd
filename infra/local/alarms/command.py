"""`raki alarms`: which alarms would have fired on what a local run measured."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from infra.local.alarms.rehearsal import Rehearsed

COLOURS = {"would have fired": "red", "stayed quiet": "green", "not measured here": "dim"}


def alarms(
    work: Annotated[Path, typer.Option(help="The work folder of the local cloud that ran or runs.")] = Path(
        ".raki-local"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="For programs: JSON, with every period's value.")] = False,
) -> None:
    """Say of each alarm of the deployment whether it would have fired on what `raki local` has measured.

    The alarms are those of the synthesised templates, the values those in the logs of all runs in the work folder.
    """
    from raki.commands.scan_tables import console

    assembly = work / "cdk.out"
    if not (assembly / "manifest.json").exists():
        raise typer.BadParameter(f"no local cloud has run in {work}: name the folder that raki local had as --work")
    found = rehearsed(assembly, work / "logs")
    if as_json:
        typer.echo(json.dumps([_as_values(one) for one in found], indent=2, allow_nan=False))
        return
    terminal = console()
    terminal.print(_table(found))
    for one in found:
        if one.fired_at:
            terminal.print(f"[red]{one.alarm.name}:[/red] {escape(one.alarm.says)}", highlight=False)
    terminal.print(summary(found), highlight=False, soft_wrap=True)


def rehearsed(assembly: Path, logs: Path, *, since_s: float = 0.0) -> "list[Rehearsed]":
    """What each alarm of an assembly would have done on what these logs measured.

    Args:
        since_s: what was measured before is left out; seconds since 1970.
    """
    from infra.local.alarms.rehearsal import rehearse
    from infra.local.alarms.samples import samples_in
    from infra.local.alarms.templates import alarms_of

    return rehearse(alarms_of(assembly), [sample for sample in samples_in(logs) if sample.at_s >= since_s])


def summary(found: "Sequence[Rehearsed]") -> str:
    """One line: which alarms would have fired, and how many there was something to tell of."""
    fired = [one.alarm.name for one in found if one.fired_at]
    n_measured = sum(one.verdict != "not measured here" for one in found)
    of_them = f"of {n_measured} that look at what is measured here; {len(found) - n_measured} look at AWS's own metrics"
    return f"Alarms that would have fired: {', '.join(fired) or 'none'} ({of_them})"


def _table(found: "Sequence[Rehearsed]") -> Table:
    table = Table("alarm", "metric", "period", "values", "worst", "fires at", "verdict")
    for one in found:
        alarm, worst = one.alarm, one.worst
        colour = COLOURS[one.verdict]
        table.add_row(
            alarm.name,
            escape(_metric_in_words(one)),
            _duration(alarm.period_s),
            "" if one.verdict == "not measured here" else str(one.n_samples),
            f"{worst.value:g} at {worst.begins.astimezone():%H:%M}" if worst else "",
            _condition(one),
            f"[{colour}]{one.verdict}[/{colour}]",
        )
    return table


def _metric_in_words(one: "Rehearsed") -> str:
    """Of AWS's own metrics the name alone: their dimensions are resources that only a deployment names."""
    watched = list(one.alarm.watched.values())
    if one.verdict == "not measured here":
        return ", ".join(f"{metric.namespace} {metric.name}" for metric in watched) or "a query over AWS's metrics"
    return ", ".join(map(str, watched))


def _condition(one: "Rehearsed") -> str:
    signs = {"GreaterThanOrEqualTo": "≥", "GreaterThan": ">", "LessThanOrEqualTo": "≤", "LessThan": "<"}
    alarm = one.alarm
    how_often = f", {alarm.n_to_alarm} of {alarm.n_periods} periods" if alarm.n_periods > 1 else ""
    return f"{signs[alarm.comparison.removesuffix('Threshold')]} {alarm.threshold:g}{how_often}"


def _duration(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds // 60} min"


def _as_values(one: "Rehearsed") -> dict[str, Any]:
    return {
        "alarm": one.alarm.name,
        "verdict": one.verdict,
        "metrics": [str(metric) for metric in one.alarm.watched.values()],
        "expression": one.alarm.expression,
        "period_s": one.alarm.period_s,
        "comparison": one.alarm.comparison,
        "threshold": one.alarm.threshold,
        "periods_to_alarm": [one.alarm.n_to_alarm, one.alarm.n_periods],
        "n_samples": one.n_samples,
        "periods": [
            {"begins": period.begins.isoformat(), "value": period.value, "breaks": period.breaks}
            for period in one.periods
        ],
        "fired_at": one.fired_at.isoformat() if one.fired_at else None,
        "says": one.alarm.says,
    }
