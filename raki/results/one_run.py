"""A folder of results never holds files of two runs, whoever looks and whenever."""

import fcntl
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from raki.kspace import EXPLANATION_PARTS
from raki.manifest import MANIFEST, entry, manifest

_NAMES = (
    *("image.h5", "preview.png", "report.html", "provenance.json", "catalogue.jsonl"),
    *("weights.safetensors", "kspace.h5", "cost.json"),
    *(
        "image.nii.gz",
        "image.bval",
        "image.bvec",
        "image-[0-9]*.nii.gz",
        "image.dcm",
        "image-[0-9]*.dcm",
        "dicom/slice_*.dcm",
    ),
    *(f"{name}.nii.gz" for name in ("g_factor", "standard_error", "structure_kept", *EXPLANATION_PARTS)),
    *(f"{name}-[0-9]*.nii.gz" for name in ("g_factor", "standard_error", "structure_kept", *EXPLANATION_PARTS)),
    *(f"{name}.dcm" for name in ("g_factor", "standard_error", "structure_kept", "snr", "phase")),
    *(f"{name}-[0-9]*.dcm" for name in ("g_factor", "standard_error", "structure_kept", "snr", "phase")),
    *("error.html", "error.json", "note.html", "note.json"),
)
"""What a run may leave: one that ended before its manifest stood is known by these alone."""


def in_place_of_the_last(
    folder: Path, write: Callable[[Path], list[Path]], *, scan_id: str | None, remarks: Iterable[str]
) -> list[Path]:
    """Has the files of a run written apart, then puts them into `folder`, where those of an earlier run go first.

    The manifest goes before anything else and comes after all. What isn't a result's stays. A run that fails changes
    nothing; of two at the same time the last one's files stay. One that is killed leaves no manifest, or the earlier
    run's with all of its files, and perhaps a hidden folder that nobody needs.

    Args:
        write: writes into the folder that it is given, or into folders in it; returns the files.

    Returns:
        The files at their places, in the same order, the manifest not among them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".raki-", dir=folder) as room:
        parts = write(Path(room))
        names = [part.relative_to(room) for part in parts]
        entries = [entry(part, name.as_posix()) for part, name in zip(parts, names, strict=True)]
        listing = Path(room) / MANIFEST
        content = manifest(entries, outcome="reconstructed", scan_id=scan_id, remarks=remarks)
        listing.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        with _alone_in(folder):
            (folder / MANIFEST).unlink(missing_ok=True)
            for earlier in _of_a_run(folder):
                earlier.unlink()
            for part, name in zip(parts, names, strict=True):
                (folder / name).parent.mkdir(exist_ok=True)
                part.replace(folder / name)
            listing.replace(folder / MANIFEST)
    return [folder / name for name in names]


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """While another run puts its files into the folder, waits. A file system that can't lock a folder lets both in."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _of_a_run(folder: Path) -> Iterator[Path]:
    yield from (path for name in _NAMES for path in folder.glob(name) if path.is_file() or path.is_symlink())
