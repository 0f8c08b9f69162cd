"""`raki deidentify` and `raki reidentify`: identity stays on site, and comes back to the images there."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from raki.commands.targets import Force, require_folder, require_free, require_parent

Map = Annotated[
    Path, typer.Option("--token-map", dir_okay=False, help="JSON file that says whom a token stands for. Keep it.")
]


def deidentify(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A raw scan, unpacked.")],
    target: Annotated[Path, typer.Argument(dir_okay=False, help="Where to write the copy without identity.")],
    token_map: Map,
    keep_weight: Annotated[bool, typer.Option(help="Keep the patient's weight.")] = False,
    keep_gender: Annotated[bool, typer.Option(help="Keep the patient's gender.")] = False,
    force: Force = False,
) -> None:
    """Write a copy of a raw scan that names nobody: a token stands for patient and study."""
    from raki.archive import companion_of
    from raki.formats import formats
    from raki.identity.deidentification import deidentify as write_copy
    from raki.identity.deidentification import read_identity
    from raki.identity.header import Policy
    from raki.identity.tokens import TokenMap
    from raki.prepare import room_for
    from raki.sandbox import Allowance, Readers

    require_free(target, file, token_map, force=force)
    require_parent(token_map)
    if token_map.exists() and token_map.samefile(file):
        raise typer.BadParameter("the token map is the scan itself; raw files are never changed: name another")
    allowance = Allowance.for_size(file.stat().st_size)
    beside = (companion_of(file, companion) for known in formats() for companion in known.companions)
    reads = [file, *(companion for companion in beside if companion.is_file())]
    with Readers() as readers, room_for(target) as part:
        identity = readers.contained(read_identity, file, allowance=allowance, reads=reads)
        token = TokenMap(token_map).token_for(identity)
        policy = Policy(keep_weight=keep_weight, keep_gender=keep_gender)
        write = partial(write_copy, file, part, token=token, policy=policy)
        readers.contained(write, allowance=allowance, reads=reads, folder=part.parent)
    if not identity.known:
        typer.echo("The file names nobody; it is copied as it is, under a token of its own.", err=True)
    typer.echo(token)


def reidentify(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder with DICOM images by raki.")],
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for the images with names.")],
    token_map: Map,
    force: Force = False,
) -> None:
    """Put patient and study back into DICOM images, by the token that they carry."""
    from raki.results.reidentification import reidentify as write_images

    require_folder(output, folder)
    for image in sorted(path for path in folder.rglob("*") if path.is_file()):
        target = output / image.relative_to(folder)
        if target.parent.is_dir():
            require_free(target, force=force)
    for path in write_images(folder, token_map, output):
        typer.echo(path)
