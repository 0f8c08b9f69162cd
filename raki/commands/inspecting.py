"""`raki inspect`: what is in raw files, and what can be done with each."""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from raki.commands.models import StoreFolder, is_path, store_of
from raki.commands.raw_files import READING, prepared_scan, progress_bar
from raki.commands.targets import require_device
from raki.errors import RakiError
from raki.wording import plain

if TYPE_CHECKING:
    from raki.inspection.inspection import Inspection
    from raki.models.matching import Check
    from raki.models.store import Store
    from raki.sandbox import Readers


def inspect(
    scans: Annotated[
        list[Path],
        typer.Argument(exists=True, metavar="SCAN...", help="Raw scans: plain, in archives, or a folder for each."),
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="For programs: JSON on standard output; a list where there are several.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; found by itself when left out.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Whether each scan is one that this model is for: its name or path.")
    ] = None,
    store: StoreFolder = None,
) -> None:
    """Say what is in a raw file, whether raki can reconstruct it, by which methods, and what is missing.

    Of several scans, those that can't be opened are named among the others; the exit code is that of the first of them.
    With --model each scan is prepared and held against what the model is for; one that it isn't for ends with 27.
    """
    from raki.sandbox import Readers

    require_device(device)
    if model is not None:
        _check_each(scans, model, device, store_of(store), as_json=as_json)
        return
    with Readers([*READING, "raki.inspection.survey.survey"]) as readers:
        if len(scans) == 1:
            _say(_inspected(scans[0], device, readers), as_json=as_json)
            return
        exit_code = _inspect_each(scans, device, readers, as_json=as_json)
    raise typer.Exit(exit_code)


def _inspect_each(scans: list[Path], device: str | None, readers: "Readers", *, as_json: bool) -> int:
    """The exit code of the first that can't be opened, 0 where all can."""
    exit_codes, listed = [], []
    for scan in scans:
        if not as_json:
            Console().print(Rule(style="dim"))
        try:
            found = _inspected(scan, device, readers)
        except RakiError as error:
            exit_codes.append(error.exit_code)
            listed.append(_refusal(scan, error))
            if not as_json:
                Console().print(_refused(scan, error))
            continue
        listed.append(asdict(found))
        if not as_json:
            _say(found, as_json=False)
    if as_json:
        typer.echo(json.dumps(listed, indent=2, allow_nan=False))
    return exit_codes[0] if exit_codes else 0


def _check_each(scans: list[Path], model: str, device: str | None, store: "Store", *, as_json: bool) -> None:
    """Says of each scan what it is to a model.

    Raises:
        ModelMismatch: one is none that it is for.
    """
    from raki.errors import ModelMismatch
    from raki.models.model import Settings, open_model

    opened = open_model(Path(model) if is_path(model) else model, Settings(device=device), store=store)
    listed, unfit = [], []
    for scan in scans:
        with progress_bar() as show, prepared_scan(scan, show) as (prepared, _, _):
            check = opened.check(prepared)
        facts = {"scan": plain(scan.name), "model": opened.title, "fits": check.fits, **asdict(check)}
        listed.append(facts)
        if not check.fits:
            unfit.append(plain(scan.name))
        if not as_json:
            Console().print(_checked(scan, opened.title, check))
    if as_json:
        typer.echo(json.dumps(listed[0] if len(scans) == 1 else listed, indent=2, allow_nan=False))
    if unfit:
        raise ModelMismatch(f"the model {opened.title} isn't for {', '.join(unfit)}; the reasons stand above")


def _checked(scan: Path, title: str, check: "Check") -> Text:
    verdict = ("fits", "bold green") if check.fits else ("doesn't fit", "bold red")
    lines = [f"\n  {sentence}" for sentence in (*check.sentences, *check.facts)]
    return Text.assemble((plain(scan.name), "bold"), ": the model ", title, " ", verdict, ".", *lines)


def _inspected(scan: Path, device: str | None, readers: "Readers") -> "Inspection":
    from raki.inspection.inspection import inspect as inspect_files
    from raki.prepare import open_within

    with TemporaryDirectory() as scratch:
        files = open_within(scan, Path(scratch), within=readers.contained)
        return inspect_files(files, device=device, within=readers.contained)


def _say(found: "Inspection", *, as_json: bool) -> None:
    from raki.inspection.text import describe

    if as_json:
        typer.echo(found.to_json())
    else:
        Console().print(describe(found))


def _refusal(scan: Path, error: RakiError) -> dict[str, Any]:
    """In the place of an inspection: the fields of it that there are."""
    refusal = {"failure_class": error.failure_class, "exit_code": error.exit_code, "sentence": error.sentence}
    return {"files": [{"name": plain(scan.name)}], "feasibility": {"reconstructable": False, "refusal": refusal}}


def _refused(scan: Path, error: RakiError) -> Text:
    return Text.assemble(
        (plain(scan.name), "bold"),
        ("\n\nCan't be opened. ", "bold red"),
        error.sentence,
        (f" ({error.failure_class}, exit code {error.exit_code})", "dim"),
    )
