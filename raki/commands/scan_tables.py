"""Scans as an operator sees them: a table for people, plain values for programs."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from raki.service.deployment import Deployment
from raki.service.record import Reached, ScanRecord, Sending, State
from raki.service.situation import Activity, count_states, duration, history, shown_state, situation
from raki.wording import plain

COLOURS = {
    Activity.WAITS: "yellow",
    Activity.RUNS: "cyan",
    Activity.DONE: "green",
    Activity.FAILED: "red",
    Activity.CANCELLED: "magenta",
    Activity.NOTED: "dim",
}
WORDS = {Activity.WAITS: "waits", Activity.RUNS: "runs"}
WIDE = 160
"""Columns of a table that goes into a file or to another program."""
SHORT = 60


def console() -> Console:
    """Standard output, as wide as the terminal, or wide enough for a file."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDE)


def as_values(record: ScanRecord, now: datetime) -> dict[str, Any]:
    """A scan for a program: times in UTC, ISO 8601."""
    at = situation(record, now)
    return {
        "scan_id": record.scan_id,
        "path": record.raw_key,
        "state": record.state,
        "activity": at.activity,
        "since": at.since.isoformat(),
        "seconds": round(at.seconds, 3),
        "arrived": record.entered_at[State.ARRIVED].isoformat(),
        "failure_class": record.failure_class if record.state is State.FAILED else None,
        "failure": record.failure if record.state is State.FAILED else None,
        "results_folder": record.results_folder,
        "n_bytes": record.n_bytes,
        "archive": _sending_values(record.sending) if record.sending else None,
        "healthimaging": _importing_values(record.importing) if record.importing else None,
    }


def _sending_values(sending: Sending) -> dict[str, Any]:
    return {
        "reached": sending.reached,
        "to": sending.to,
        "at": sending.at.isoformat(),
        "reason": sending.reason or None,
    }


def _importing_values(importing: Sending) -> dict[str, Any]:
    return {**_sending_values(importing), "job": importing.job or None}


def overview(records: Iterable[ScanRecord], now: datetime, *, most: int, n_not_taken_up: int) -> RenderableType:
    """A row a scan, and under them how many there are in each state."""
    scans = list(records)
    table = Table("scan", "state", "since", "time", "what happened", box=None, pad_edge=False, header_style="bold")
    table.columns[0].overflow = "fold"
    table.columns[3].justify = "right"
    for record in scans[:most]:
        at = situation(record, now)
        time = f"{WORDS[at.activity]} {duration(at.seconds)}" if at.activity in WORDS else f"in {duration(at.seconds)}"
        table.add_row(
            Text(plain(record.raw_key)),
            Text(shown_state(record), style=COLOURS[at.activity]),
            clock(at.since, now),
            time,
            Text(_what_happened(record)),
        )
    lines: list[RenderableType] = [table] if scans else []
    if len(scans) > most:
        lines.append(Text(f"… and {len(scans) - most} older ones: --all", style="dim"))
    counts = ", ".join(f"{n} {state}" for state, n in count_states(scans).items()) or "no scans"
    waiting = f"; {n_not_taken_up} in the queue, not taken up yet" if n_not_taken_up else ""
    return Group(*lines, Text(f"{counts}{waiting}"))


def details(
    record: ScanRecord, versions: list[ScanRecord], quality: Mapping[str, Any], deployment: Deployment, now: datetime
) -> RenderableType:
    """All that is known of one scan."""
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, value in (
        ("scan id", record.scan_id),
        ("file", f"{plain(record.raw_key)}, {record.n_bytes} bytes"),
        ("state", record.state),
        *((("kind of failure", record.failure_class), ("failure", record.failure)) if record.failure else ()),
        ("results", plain(place_of_results(record, deployment))),
        *((("picture archive", _sending_words(record.sending, now)),) if record.sending else ()),
        *((("HealthImaging", _importing_words(record.importing, now)),) if record.importing else ()),
        ("attempts", ", ".join(f"{stage} {n}" for stage, n in record.attempts.items() if n) or "none"),
        *((("set going again", f"{record.n_remedies} times, by the service"),) if record.n_remedies else ()),
        *((name.replace("_", " "), _shown(value)) for name, value in quality.items() if value not in (None, [], {})),
    ):
        facts.add_row(name, Text(str(value)))
    way = Table("state", "entered", "time", box=None, pad_edge=False, header_style="bold")
    way.columns[2].justify = "right"
    for state, at, seconds in history(record, now):
        way.add_row(state, clock(at, now), duration(seconds) if seconds is not None else "")
    lines: list[RenderableType] = [facts, Text(), way]
    if len(versions) > 1:
        others = Table("version", "arrived", "state", box=None, pad_edge=False, header_style="bold")
        for version in versions:
            others.add_row(version.scan_id, clock(version.entered_at[State.ARRIVED], now), version.state)
        lines += [Text(), others]
    return Group(*lines)


def place_of_results(record: ScanRecord, deployment: Deployment) -> str:
    """Where a person finds the results: on this machine, or in the bucket."""
    if deployment.share:
        folder = deployment.share / "results" / record.results_folder
        pages = [folder / name for name in ("report.html", "note.html", "error.html")]
        return str(next((page for page in pages if page.exists()), folder))
    return f"s3://{deployment.results_bucket}/{record.results_folder}/"


def line_of_log(line: Mapping[str, Any], now: datetime) -> Text:
    """A line of a log: when, how grave, what, and what else it says."""
    known = ("time", "level", "event", "scan_id", "log_group", "log_stream", "_aws")
    rest = "  ".join(f"{name}={plain(str(value))}" for name, value in line.items() if name not in known)
    at = clock(datetime.fromisoformat(line["time"]), now)
    grave = line["level"] not in ("INFO", "DEBUG")
    return Text.assemble((f"{at}  ", "dim"), (f"{line['event']:<24}", "red" if grave else ""), (rest, "dim"))


def clock(at: datetime, now: datetime) -> str:
    """A moment as the clock on the wall has it, with the date unless it is of today."""
    local, today = at.astimezone(), now.astimezone().date()
    return local.strftime("%H:%M:%S" if local.date() == today else "%Y-%m-%d %H:%M")


def change_of(record: ScanRecord, now: datetime) -> Text:
    """One line that says which state a scan has entered."""
    at = situation(record, now)
    took = f"  in {duration(at.seconds)}" if at.activity is Activity.DONE else ""
    failed = f"  {record.failure_class}: {record.failure}" if record.state is State.FAILED else ""
    what = Text(plain(record.raw_key) + "  ")
    return what.append(record.state, style=COLOURS[at.activity]).append(took + failed)


def _sending_words(sending: Sending, now: datetime) -> str:
    at = clock(sending.at, now)
    match sending.reached:
        case Reached.SENT:
            return f"{sending.to} has the images since {at}"
        case Reached.STARTED | Reached.WAITS:
            return f"not yet in {sending.to}, tried last at {at}: {plain(sending.reason)}"
        case Reached.GIVEN_UP:
            return f"not in {sending.to}, given up at {at} (raki retry): {plain(sending.reason)}"


def _importing_words(importing: Sending, now: datetime) -> str:
    at = clock(importing.at, now)
    job = f", job {importing.job}" if importing.job else ""
    match importing.reached:
        case Reached.SENT:
            return f"data store {importing.to} has the images since {at}{job}"
        case Reached.STARTED:
            return f"data store {importing.to} imports them, seen last at {at}{job}"
        case Reached.WAITS:
            return f"not yet in data store {importing.to}, tried last at {at}: {plain(importing.reason)}"
        case Reached.GIVEN_UP:
            return f"not in data store {importing.to}, given up at {at} (raki retry){job}: {plain(importing.reason)}"


def _what_happened(record: ScanRecord) -> str:
    if record.state is State.FAILED and record.failure:
        text = f"{record.failure_class}: {record.failure}"
    elif record.sending and record.sending.reached is not Reached.SENT:
        how = "not sent" if record.sending.reached is Reached.GIVEN_UP else "not sent yet"
        text = f"{how}: {plain(record.sending.reason)}"
    elif record.importing and record.importing.reason:
        how = "not imported" if record.importing.reached is Reached.GIVEN_UP else "not imported yet"
        text = f"{how}: {plain(record.importing.reason)}"
    else:
        return ""
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(each)}" for name, each in value.items())
    if isinstance(value, list):
        return "\n".join(plain(str(each)) for each in value)
    return str(value)
