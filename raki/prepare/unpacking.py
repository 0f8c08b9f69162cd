"""Unpack what was dropped in the sandbox: the stream or the file goes in, the raw files of one scan come out."""

import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from raki.archive import DEFAULT_LIMITS, Limits, Readable, companion_of, open_local, unpack
from raki.errors import DamagedScan
from raki.formats import formats
from raki.names import OPTIONS_FILE
from raki.prepare.outputs import taken_out
from raki.sandbox import Allowance, contained

Within = Callable[..., list[Path]]


def unpack_within(
    stream: Readable, n_bytes: int, into: Path, *, limits: Limits = DEFAULT_LIMITS, within: Within = contained
) -> list[Path]:
    """`raki.archive.unpack` of a stream, in a process of its own, which is fed with it.

    Args:
        n_bytes: the stream's length, by which time and memory are allowed.
        within: what runs it in another process, `contained` or that of `Readers`.

    Raises:
        DamagedScan: the stream takes more time or memory than an honest one. Otherwise as `raki.archive.unpack`.
        TransientError: the process was killed from outside.
    """
    allowance = Allowance.for_packed(n_bytes, limits.n_bytes)
    with TemporaryDirectory(dir=into, prefix=".unpacking-") as room:
        found = within(_unpack_stream, Path(room), limits, allowance=allowance, folder=Path(room), feed=stream)
        return _placed(found, Path(room), into)


def open_within(path: Path, into: Path, *, within: Within = contained) -> list[Path]:
    """`raki.archive.open_local` in a process of its own: the files of one scan, unpacked if they were packed.

    Errors are those of `raki.archive.open_local`; and as `unpack_within`.
    """
    path = path.absolute()
    beside = {companion_of(path, companion) for known in formats() for companion in known.companions}
    reads = [path, *sorted(file for file in beside if file != path and file.is_file())]
    n_bytes = path.stat().st_size if path.is_file() else 0
    allowance = Allowance.for_packed(n_bytes, DEFAULT_LIMITS.n_bytes)
    with TemporaryDirectory(dir=into, prefix=".unpacking-") as room:
        found = within(_open_local, path, Path(room), allowance=allowance, reads=reads, folder=Path(room))
        if all(file.parent == Path(room) for file in found):
            return _placed(found, Path(room), into)
    ours = {path, *beside, *(path.iterdir() if path.is_dir() else ())}
    if not set(found) <= ours:
        # Whoever goes on with them would read what nobody asked about.
        raise DamagedScan("reading the file named other files than it and its companions; export the scan again")
    return found


def _unpack_stream(stream: io.BufferedReader, room: Path, limits: Limits) -> list[Path]:
    return unpack(stream, room, formats=formats(), limits=limits)


def _open_local(path: Path, room: Path) -> list[Path]:
    return open_local(path, room, formats=formats())


def _placed(found: Sequence[Path], room: Path, into: Path) -> list[Path]:
    options = room / OPTIONS_FILE
    if os.path.lexists(options):
        taken_out(options, into / OPTIONS_FILE)
    return [taken_out(room / file.name, into / file.name) for file in found]
