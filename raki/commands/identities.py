"""`raki deidentify` and `raki reidentify`: identity stays on site, and comes back to the images there."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

Map = Annotated[
    Path, typer.Option("--token-map", dir_okay=False, help="JSON file that says whom a token stands for. Keep it.")
]


def deidentify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A raw scan, unpacked.")],
    target: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write the copy without identity.")],
    token_map: Map,
    keep_weight: Annotated[bool, typer.Option(help="Keep the patient's weight.")] = False,
    keep_gender: Annotated[bool, typer.Option(help="Keep the patient's gender.")] = False,
) -> None:
    """Write a copy of a raw scan that names nobody: a token stands for patient and study."""
    from raki.identity import Policy, read_identity
    from raki.identity import deidentify as write_copy
    from raki.identity.tokens import TokenMap
    from raki.prepare import Allowance, contained

    if target.exists() and target.samefile(file):
        raise typer.BadParameter("source and target are the same file; raw files are never changed: name another")
    allowance = Allowance.for_size(file.stat().st_size)
    identity = contained(read_identity, file, allowance=allowance)
    if not identity.known:
        typer.echo("The file names nobody; it is copied as it is, under a token of its own.", err=True)
    token = TokenMap(token_map).token_for(identity)
    policy = Policy(keep_weight=keep_weight, keep_gender=keep_gender)
    contained(partial(write_copy, file, target, token=token, policy=policy), allowance=allowance)
    typer.echo(token)


def reidentify(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with DICOM images by raki.")],
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for the images with names.")],
    token_map: Map,
) -> None:
    """Put patient and study back into DICOM images, by the token that they carry."""
    from raki.results.reidentification import reidentify as write_images

    for path in write_images(folder, token_map, output):
        typer.echo(path)
