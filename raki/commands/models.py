"""`raki models`: models by their names: what there is, what each is for, and how one gets from here to there."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from raki.commands.operating import NotInstalled
from raki.wording import plain

if TYPE_CHECKING:
    from raki.models.store import Kept, Store

app = typer.Typer(name="models", help="Models by their names: weights of a scan for later scans of the same place.")

StoreFolder = Annotated[
    Path | None,
    typer.Option(
        "--store", file_okay=False, help="Folder of the models; else RAKI_MODELS, or raki/models in the user's data."
    ),
]
Reference = Annotated[str, typer.Argument(metavar="NAME", help="NAME, NAME@VERSION or NAME@sha256:DIGEST.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]


@app.command("list")
def list_models(store: StoreFolder = None, as_json: AsJson = False) -> None:
    """All models of the store; one that isn't sound is named in its place."""
    from raki.models.store import Kept

    found = list(store_of(store).each())
    if as_json:
        facts = [_facts(each) if isinstance(each, Kept) else {"sentence": each.sentence} for each in found]
        typer.echo(json.dumps(facts, indent=2))
        return
    table = Table("model", "method", "coils", "R", "images", "digest")
    for each in found:
        if isinstance(each, Kept):
            document, made_for = each.document, each.document.made_for
            steps = " x ".join(str(step) for step in made_for.lattice[:2])
            name = f"{document.name}@{document.version}"
            n_images = str(made_for.n_slices * made_for.n_frames)
            table.add_row(name, document.architecture.name, str(made_for.n_coils), steps, n_images, each.digest[:12])
        else:
            table.add_row(plain(each.sentence), "", "", "", "", "", style="red")
    Console().print(table)


@app.command("show")
def show_model(name: Reference, store: StoreFolder = None, as_json: AsJson = False) -> None:
    """What a model is, what it is for and what it was made from; --json is its whole description."""
    kept = store_of(store).find(name)
    if as_json:
        typer.echo(kept.document.to_bytes().decode(), nl=False)
        return
    typer.echo(kept.pinned)
    typer.echo(plain_lines((kept.folder / "README.md").read_text(encoding="utf-8")))


@app.command("verify")
def verify(name: Reference, store: StoreFolder = None) -> None:
    """Hold every file of a model against its digests, its schema, and what its tensors have to be."""
    kept = store_of(store).find(name)
    n_images = len(kept.weights().images)
    typer.echo(f"{kept.pinned} is sound: {n_images} kernels.")


@app.command("promote")
def promote_result(
    result: Annotated[Path, typer.Argument(exists=True, help="Folder of a result that has weights.safetensors.")],
    name: Annotated[str, typer.Argument(help="Small letters, digits and hyphens.")],
    store: StoreFolder = None,
    version: Annotated[str | None, typer.Option(help="The next one that is free when left out.")] = None,
    intended_use: Annotated[str | None, typer.Option(help="What it is for, in a sentence.")] = None,
    license_: Annotated[str, typer.Option("--license", help="Of the weights: an SPDX identifier.")] = "other",
) -> None:
    """Make a model of a result: its weights, with a card filled in from its provenance."""
    from raki.models.promotion import INTENDED_USE, promote

    use = intended_use or INTENDED_USE
    kept = promote(result, name, store=store_of(store), version=version, intended_use=use, license=license_)
    typer.echo(kept.pinned)


@app.command("pull")
def pull(
    source: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX/NAME[@VERSION], or the folder of a model.")],
    store: StoreFolder = None,
    digest: Annotated[str | None, typer.Option("--sha256", help="The digest that it has to have.")] = None,
    profile: Annotated[str | None, typer.Option(help="AWS profile.")] = None,
) -> None:
    """Take a model into the store, from a bucket or a folder. It is checked before it is there."""
    from tempfile import TemporaryDirectory

    from raki.errors import BadModel
    from raki.models.store import read_model

    with TemporaryDirectory() as scratch:
        folder = Path(source)
        if source.startswith("s3://"):
            folder = _downloaded(source, Path(scratch), profile)
        found = read_model(folder)
        if digest is not None and found.digest != digest.removeprefix("sha256:"):
            raise BadModel(f"the model has the digest sha256:{found.digest}, not the one that was asked for")
        typer.echo(store_of(store).add(folder).pinned)


@app.command("push")
def push(
    name: Reference,
    target: Annotated[str, typer.Argument(help="s3://BUCKET/PREFIX, or the folder of another store.")],
    store: StoreFolder = None,
    profile: Annotated[str | None, typer.Option(help="AWS profile.")] = None,
) -> None:
    """Put a model into a bucket or another store, by the same layout."""
    from raki.models.store import Store

    kept = store_of(store).find(name)
    kept.weights()
    if target.startswith("s3://"):
        bucket, prefix = _bucket_and_prefix(target)
        key = f"{prefix}{kept.document.name}/{kept.document.version}/"
        s3 = _s3(profile)
        from raki.service.model_objects import upload

        upload(s3, bucket, key, kept.folder)
        typer.echo(f"s3://{bucket}/{key}")
    else:
        typer.echo(Store(root=Path(target)).add(kept.folder).folder)


@app.command("export")
def export(
    name: Reference,
    folder: Annotated[Path, typer.Option("--monai", help="Folder for a bundle as MONAI has them; not there yet.")],
    store: StoreFolder = None,
) -> None:
    """Write a model as a bundle for MONAI: its facts and weights, and no code."""
    from raki.models.monai import write_bundle

    for path in write_bundle(store_of(store).find(name), folder):
        typer.echo(path)


def plain_lines(text: str) -> str:
    """A text of a file, line by line, without what steers a terminal."""
    return "\n".join(plain(line, 500) if line else "" for line in text.splitlines())


def is_path(text: str) -> bool:
    """Whether a model is meant by where it stands, and not by its name."""
    return "/" in text or text.endswith(".safetensors") or text in (".", "..")


def store_of(folder: Path | None) -> "Store":
    """The store that is named, else the user's."""
    from raki.models.store import Store

    return Store.default() if folder is None else Store(root=folder)


def _facts(kept: "Kept") -> dict[str, str | int]:
    document = kept.document
    return {
        "name": document.name,
        "version": document.version,
        "digest": kept.digest,
        "method": document.architecture.name,
        "n_coils": document.made_for.n_coils,
        "acceleration": document.made_for.acceleration,
    }


def _downloaded(source: str, scratch: Path, profile: str | None) -> Path:
    from raki.errors import NoSuchModel
    from raki.options import reference

    address, _, name = source.rpartition("/")
    said = reference(name)
    if said is None or not address.startswith("s3://"):
        raise NoSuchModel(f"{source!r} is no address of a model; s3://BUCKET/PREFIX/NAME or NAME@VERSION is needed")
    bucket, prefix = _bucket_and_prefix(address)
    s3 = _s3(profile)
    from raki.service.model_objects import download, newest

    version = said[1] or newest(s3, bucket, f"{prefix}{said[0]}/")
    if version is None:
        raise NoSuchModel(f"the bucket {bucket} has no model {said[0]} under {prefix or 'its root'!r}")
    folder = scratch / "model"
    download(s3, bucket, f"{prefix}{said[0]}/{version}/", folder)
    return folder


def _bucket_and_prefix(address: str) -> tuple[str, str]:
    bucket, _, prefix = address.removeprefix("s3://").strip("/").partition("/")
    if not bucket:
        raise typer.BadParameter(f"{address} names no bucket; s3://BUCKET/PREFIX is needed")
    return bucket, f"{prefix}/" if prefix else ""


def _s3(profile: str | None) -> Any:
    try:
        from raki.service.model_objects import client
    except ModuleNotFoundError:
        raise NotInstalled(
            "models in buckets need the package boto3, which pip install 'raki-mri[service]' installs"
        ) from None
    return client(profile)
