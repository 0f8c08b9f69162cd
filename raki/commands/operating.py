"""What an operator looks at and does: `raki status`, `show`, `logs`, `retry`, `cancel` and `submit`."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raki.commands.raw_files import CONSOLE
from raki.errors import NoiseAlone, RakiError

if TYPE_CHECKING:
    from raki.service.operator import Operator
    from raki.service.record import State

Scan = Annotated[str, typer.Argument(metavar="SCAN", help="Its path on the share, or its scan id.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]
Stack = Annotated[str | None, typer.Option(help="What the names of the deployment's stacks begin with: Raki.")]
Profile = Annotated[str | None, typer.Option(help="A profile of AWS's own configuration.")]
Local = Annotated[
    Path | None, typer.Option(help="The work folder of a running `raki local`; one in this folder is found by itself.")
]
STARTS_S, MOST_S = 0.5, 5.0
"""Between two looks at a scan that is followed: at first, and later."""


class NotInstalled(RakiError):
    """The library stands alone, without what talks to AWS."""

    exit_code = 35


@contextmanager
def _operator(stack: str | None, profile: str | None, local: Path | None) -> "Iterator[Operator]":
    try:
        from raki.service.deployment import find_deployment
        from raki.service.operator import operating
    except ModuleNotFoundError:
        raise NotInstalled("this needs the package boto3: pip install 'raki-mri[service]'") from None
    with operating(find_deployment(stack=stack, profile=profile, local=local, folder=Path.cwd())) as operator:
        yield operator


def status(
    prefix: Annotated[str, typer.Argument(help="Only scans whose path on the share begins so.")] = "",
    state: Annotated[
        list[str] | None, typer.Option("--state", "-s", help="Only scans in this state; may be given several times.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.5, help="Seconds between two looks of --watch.")] = 5.0,
    most: Annotated[int, typer.Option("--most", "-n", min=1, help="Rows of the table.")] = 30,
    every_scan: Annotated[bool, typer.Option("--all", help="All rows.")] = False,
    as_json: AsJson = False,
    stack: Stack = None,
    profile: Profile = None,
    local: Local = None,
) -> None:
    """Where the scans are: the newest first, and how many are in each state.

    --json prints one document; with --watch one line for each scan, and again whenever it enters a state.
    """
    from rich.live import Live

    from raki.commands.scan_tables import console, overview
    from raki.service.record import State

    if unknown := sorted(set(state or ()) - set(State)):
        raise typer.BadParameter(f"there is no state '{unknown[0]}', but {', '.join(State)}")
    states, rows = [State(name) for name in state or ()], sys.maxsize if every_scan else most
    with _operator(stack, profile, local) as operator:
        if as_json and watch:
            _print_changes(operator, states, prefix, every)
        elif as_json:
            print_json(_document(operator, states, prefix, rows))
        else:

            def table() -> object:
                scans = operator.scans(states=states, prefix=prefix)
                waiting = operator.n_not_taken_up()
                return overview(scans, datetime.now(UTC), most=rows, n_not_taken_up=waiting)

            shown = console()
            if not watch:
                shown.print(table())
                if renewed := operator.image_renewed():
                    shown.print(f"The GPU instances' image was last renewed on {renewed:%Y-%m-%d}.", highlight=False)
                return
            with Live(table(), console=shown, auto_refresh=False) as live:  # type: ignore[arg-type]
                while True:
                    time.sleep(every)
                    live.update(table(), refresh=True)  # type: ignore[arg-type]


def show(
    scan: Scan, as_json: AsJson = False, stack: Stack = None, profile: Profile = None, local: Local = None
) -> None:
    """All that is known of one scan: its way so far, its versions, why it failed, how good its result is."""
    from raki.commands.scan_tables import as_values, console, details, place_of_results
    from raki.service.situation import history

    with _operator(stack, profile, local) as operator:
        record, now = operator.find(scan), datetime.now(UTC)
        versions, quality = operator.versions(record), operator.quality(record)
        if not as_json:
            console().print(details(record, versions, quality, operator.deployment, now))
            return
        print_json(
            {
                **as_values(record, now),
                "history": [
                    {"state": state, "entered": at.isoformat(), "seconds": seconds}
                    for state, at, seconds in history(record, now)
                ],
                "attempts": record.attempts,
                "versions": [as_values(version, now) for version in versions],
                "quality": quality or None,
                "results": place_of_results(record, operator.deployment),
            }
        )


def logs(
    scan: Scan, as_json: AsJson = False, stack: Stack = None, profile: Profile = None, local: Local = None
) -> None:
    """What all stages have logged about one scan, in the order of time. No line names its file."""
    from raki.commands.scan_tables import console, line_of_log

    with _operator(stack, profile, local) as operator:
        lines = operator.log_lines(operator.find(scan))
        if as_json:
            print_json(lines)
            return
        for line in lines:
            console().print(line_of_log(line, datetime.now(UTC)), soft_wrap=True)


def retry(
    scan: Scan,
    anew: Annotated[
        bool, typer.Option("--anew", help="Also one that has its result, which stands until the new one comes.")
    ] = False,
    stack: Stack = None,
    profile: Profile = None,
    local: Local = None,
) -> None:
    """Set a failed or cancelled scan going again, when what made it fail is mended.

    Of a scan that has its result, that is its way to the picture archive, where there is one to send to.
    """
    with _operator(stack, profile, local) as operator:
        record = operator.find(scan)
        operator.retry(record, anew=anew)
        CONSOLE.print("Set going again.")
        typer.echo(record.scan_id)


def cancel(
    scan: Scan,
    now: Annotated[
        bool, typer.Option("--now", help="End the GPU job that has it, too; other scans in that job begin again.")
    ] = False,
    stack: Stack = None,
    profile: Profile = None,
    local: Local = None,
) -> None:
    """End a scan that waits or is worked on: nothing of it is shown but a page that says so; its raw file is kept.

    Who has it in hand leaves it at the next step of the work.
    """
    with _operator(stack, profile, local) as operator:
        record = operator.find(scan, enters=True)
        job = operator.cancel(record, now=now)
        CONSOLE.print("Cancelled." + (f" The job {job} is ended." if job else ""))
        typer.echo(record.scan_id)


def submit(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Scans, options (raki.toml) too.")],
    to: Annotated[str, typer.Option(help="The folder on the share.")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Follow each to its end.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace what stands on the share under this name.")] = False,
    as_json: AsJson = False,
    stack: Stack = None,
    profile: Profile = None,
    local: Local = None,
) -> None:
    """Put raw scans where those that are dropped on the share go; print their scan ids.

    With --wait the exit code says how the first one ended that has no image and isn't the noise scan of another.
    """
    from raki.names import companions_of, is_options_file, is_scan, noise_beside

    names = [file.name for file in files]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise typer.BadParameter(f"two of the files are called {twice}, and one would replace the other")
    for name in names:
        belongs = any(name in companions_of(other) for other in names)
        if not (is_scan(name) or is_options_file(name) or belongs):
            raise typer.BadParameter(f"{name} is no scan by its name: it would be left alone on the share")
    # A worker may take a scan up as soon as it stands there: what belongs to it comes before.
    noise = {beside for name in names for beside in noise_beside(name)}
    in_order = sorted(files, key=lambda file: (is_scan(file.name), file.name not in noise))
    with _operator(stack, profile, local) as operator:
        submitted = [operator.submit(file, to, replace=force) for file in in_order]
        ids = [each.scan_id for each in submitted if each.scan_id]
        if as_json and not wait:
            print_json([{"path": each.key, "scan_id": each.scan_id} for each in submitted])
        elif not as_json:
            for each in submitted:
                CONSOLE.print(f"{each.key} is there.", highlight=False, markup=False)
                typer.echo(each.scan_id or "-")
        if wait:
            _follow(operator, ids, as_json=as_json)


def _follow(operator: "Operator", ids: list[str], *, as_json: bool) -> None:
    """Says each state that the scans enter, until all have ended; ends with the exit code of a failure."""
    from raki.commands.scan_tables import as_values, change_of, place_of_results
    from raki.service.record import State
    from raki.service.situation import changed

    seen: dict[str, tuple[State, datetime]] = {}
    pause_s = STARTS_S
    while True:
        records = [record for scan_id in ids if (record := operator.ledger.get(scan_id))]
        for record in changed(records, seen):
            now = datetime.now(UTC)
            if as_json:
                typer.echo(json.dumps(as_values(record, now)))
            else:
                CONSOLE.print(change_of(record, now), soft_wrap=True)
        if len(records) == len(ids) and all(record.state in (State.DELIVERED, State.FAILED) for record in records):
            break
        time.sleep(pause_s)
        pause_s = min(MOST_S, pause_s * 1.2)
    if not as_json:
        for record in records:
            typer.echo(place_of_results(record, operator.deployment))
    failed = [
        record for record in records if record.state is State.FAILED and record.failure_class != NoiseAlone.__name__
    ]
    if failed:
        raise typer.Exit(exit_code_of(failed[0].failure_class or ""))


def _document(operator: "Operator", states: "list[State]", prefix: str, most: int) -> dict[str, object]:
    from raki.commands.scan_tables import as_values
    from raki.service.situation import count_states

    scans, now = operator.scans(states=states, prefix=prefix), datetime.now(UTC)
    return {
        "deployment": operator.deployment.where,
        "at": now.isoformat(),
        "counts": count_states(scans),
        "not_taken_up": operator.n_not_taken_up(),
        "image_renewed": renewed.isoformat() if (renewed := operator.image_renewed()) else None,
        "scans": [as_values(record, now) for record in scans[:most]],
    }


def _print_changes(operator: "Operator", states: "list[State]", prefix: str, every: float) -> None:
    from raki.commands.scan_tables import as_values
    from raki.service.situation import changed

    seen: dict[str, tuple[State, datetime]] = {}
    while True:
        for record in changed(operator.scans(states=states, prefix=prefix), seen):
            typer.echo(json.dumps(as_values(record, datetime.now(UTC))))
        time.sleep(every)


def exit_code_of(failure_class: str) -> int:
    """The exit code of a class of failures by its name; 1 where the ledger has one that this version doesn't know."""
    from raki import errors

    kind = getattr(errors, failure_class, None)
    return kind.exit_code if isinstance(kind, type) and issubclass(kind, RakiError) else 1


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
