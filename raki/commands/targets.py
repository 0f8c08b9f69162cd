"""Where a command writes: never over what it reads, over other things only if asked to; said before it computes."""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

# Written beside a file of this ending.
BESIDE = {".hdr": ".cfl", ".cfl": ".hdr", ".npy": ".json"}

# Of all results the one that may be called as a raw scan is.
RESULT = "image.h5"

GB = 1e9

Force = Annotated[bool, typer.Option("--force", help="Write over what is there; never over the scan itself.")]


def require_free(target: Path, *sources: Path, force: bool) -> None:
    """Raises BadParameter where a file can't be written, or something would be lost by it.

    Args:
        sources: what is read: files, with what stands beside them as a part of them, or folders.
        force: whether what is there, and no part of the sources, may be replaced.
    """
    require_parent(target)
    for written in _with_beside(target):
        if written.is_dir():
            raise typer.BadParameter(f"'{written}' is a folder; a file is written: name one in it")
        if not _is_there(written):
            continue
        if any(_is_same(written, part) for source in sources for part in _parts(source)):
            raise typer.BadParameter(f"'{written}' is what is read, or a part of it; it is never changed: name another")
        if not force:
            raise typer.BadParameter(f"'{written}' is there already: name another, or say --force to write over it")
    if any(source.is_dir() and target.resolve().is_relative_to(source.resolve()) for source in sources):
        raise typer.BadParameter(
            f"'{target}' would lie among the files of the scan, as one of them: name another folder"
        )


def require_parent(target: Path) -> None:
    """Raises BadParameter where there is no folder for a file, or nothing can be written into it."""
    if not target.parent.is_dir():
        raise typer.BadParameter(f"there is no folder '{target.parent}': make it first, or name another")
    _require_writable(target.parent)


def require_folder(output: Path, *sources: Path) -> None:
    """Raises BadParameter where a folder of results can't be written, or holds what is read.

    It may be there, and hold earlier results.
    """
    standing = _standing(output)
    if not standing.is_dir():
        raise typer.BadParameter(f"'{standing}' is a file; results go into a folder: name another")
    _require_writable(standing)
    if any(source.is_dir() and output.resolve().is_relative_to(source.resolve()) for source in sources):
        raise typer.BadParameter(f"'{output}' is the folder of what is read, or lies in it: name another")
    parts = (part for source in sources for part in _parts(source))
    if any(_is_same(output / RESULT, part) for part in parts):
        raise typer.BadParameter(f"a result is called {RESULT}, as what is read in '{output}' is: name another folder")


@contextmanager
def room_beside(output: Path) -> Iterator[Path]:
    """A folder for what is written meanwhile: on the disk that the results come to, and gone at the end."""
    with TemporaryDirectory(prefix=".raki-", dir=_standing(output)) as room:
        yield Path(room)


def _standing(output: Path) -> Path:
    """The folder, or the first one above it that is there."""
    return next(folder for folder in (output, *output.absolute().parents) if _is_there(folder))


def require_room(target: Path, *, memory_bytes: int, disk_bytes: int) -> None:
    """Raises BadParameter where making a file takes more memory than the machine has, or more disk than is free."""
    from raki.sandbox import memory_limit

    for needed, there, what in (
        (memory_bytes, memory_limit(), "memory, and this machine has"),
        (disk_bytes, shutil.disk_usage(target.parent).free, "disk, and free are"),
    ):
        if needed > there:
            raise typer.BadParameter(
                f"this takes about {needed / GB:.1f} GB of {what} {there / GB:.1f} GB: ask for less"
            )


def require_device(device: str | None) -> None:
    """Raises BadParameter where there is no such device."""
    if device in (None, "cpu"):
        return
    import torch

    try:
        kind = torch.device(device).type
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
        raise typer.BadParameter(f"there is no device '{device}' here, but {' and '.join(there)}") from None
    if kind == "meta":
        raise typer.BadParameter("'meta' computes nothing; say cpu or cuda")


def _require_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        raise typer.BadParameter(f"nothing can be written into '{folder}': it is not yours to change; name another")


def _with_beside(target: Path) -> Iterator[Path]:
    yield target
    if target.suffix in BESIDE:
        yield target.with_suffix(BESIDE[target.suffix])


def _parts(source: Path) -> Iterable[Path]:
    """The files that a source is or holds, and those beside it that belong to it."""
    if source.is_dir():
        return (file for file in source.rglob("*") if file.is_file())
    return _with_beside(source)


def _is_there(path: Path) -> bool:
    """Whether something would be written over; a link into nowhere is something."""
    return path.exists() or path.is_symlink()


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.samefile(other)
