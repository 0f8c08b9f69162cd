"""`raki reproduce`: a result made again from its raw file, and held against what was there."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from raki.commands.models import StoreFolder, store_of
from raki.commands.raw_files import RawFile, prepared_scan, progress_bar
from raki.commands.targets import require_device
from raki.options import NO_MODEL


def reproduce(
    result: Annotated[Path, typer.Argument(exists=True, help="manifest.json of a result, or its folder.")],
    file: RawFile,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; that of the result when left out.")] = None,
    store: StoreFolder = None,
) -> None:
    """Make a result again from its raw file, and say whether the same bits come out.

    Nothing is written. On another device, processor or version of torch the last bits may differ.
    """
    from raki.images import reconstruct_as
    from raki.models.choosing import chosen_model
    from raki.results import write_results
    from raki.results.reproduction import NotReproduced, differences, read_result

    earlier = read_result(result)
    chosen = earlier.chosen
    if earlier.facts.get("model") and chosen.options.model == NO_MODEL:
        raise NotReproduced(
            "the result was made with weights of a file, which has no name to find it by; make a model of them first "
            "(raki models promote)"
        )
    where = device or ("cpu" if earlier.facts.get("device") == "cpu" else None)
    require_device(where)
    changed = earlier.changed_files()
    with progress_bar() as show, prepared_scan(file, show) as (scan, source, _), TemporaryDirectory() as scratch:
        if source.sha256 != earlier.source_sha256:
            raise NotReproduced(
                "the raw file is not the one that the result was made from, its SHA-256 is another; raki needs that"
            )
        again = Path(scratch) / "again"
        brought = chosen_model(chosen, scan, store=store_of(store))
        reconstruction = reconstruct_as(chosen, scan, device=where, model=brought.model, progress=show)
        write_results(reconstruction, again, source=source, chosen=chosen)
        found = differences(earlier.folder, again)
    table = Table("file", "made again")
    for name, difference in found.items():
        table.add_row(name, difference or "identical", style="red" if difference else "")
    Console().print(table)
    if changed or any(found.values()):
        raise NotReproduced(" ".join(_why(changed, found, list(earlier.other_software()))))
    typer.echo("Identical.")


def _why(changed: list[str], found: dict[str, str], software: list[str]) -> list[str]:
    said = [f"Changed since the manifest was written: {', '.join(changed)}."] if changed else []
    others = [f"{name} ({difference})" for name, difference in found.items() if difference and name not in changed]
    if others:
        said.append(f"Another result comes out: {', '.join(others)}.")
    return [*said, *([f"{'; '.join(software)}."] if software else [])]
