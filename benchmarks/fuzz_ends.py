"""How an input ends that is parsed: read, refused, or in a way that no input may end; and the smallest that ends so."""

import faulthandler
import os
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from tempfile import TemporaryDirectory
from traceback import extract_tb

from raki.errors import RakiError
from raki.sandbox import Allowance

Read = Callable[[bytes, Path], None]
CPU_SECONDS = 10
"""Sound inputs of these sizes take a tenth of a second."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A parser."""

    read: Read
    """Parses the content, writing into an empty folder. An error of raki's says that it was refused."""
    seeds: Callable[[], Sequence[bytes]]
    """Contents that are read without any error."""


def fault_of(read: Read, content: bytes) -> str | None:
    """What an input does that none may do, and where in raki; None where it is read, or refused by raki itself."""
    started = time.process_time()
    with TemporaryDirectory(prefix="fuzz-") as folder:
        try:
            read(content, Path(folder))
        except RakiError:
            pass
        except Exception as error:  # noqa: BLE001  # what is looked for
            return f"{type(error).__name__} at {_place_of(error)}"
        n_bytes = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    if time.process_time() - started > CPU_SECONDS:
        return f"more than {CPU_SECONDS} s"
    return "more on the disk than it may" if n_bytes > 4 * Allowance.for_size(len(content)).file_bytes else None


def _place_of(error: Exception) -> str:
    """Our innermost line, which is the same fault's however it is come by."""
    places = [f"{Path(frame.filename).stem}:{frame.lineno}" for frame in extract_tb(error.__traceback__)]
    ours = [
        place
        for place, frame in zip(places, extract_tb(error.__traceback__), strict=True)
        if "/raki/" in frame.filename
    ]
    return (ours or places)[-1]


def limit_memory(n_bytes: int) -> None:
    """What a reader in the sandbox may have for an input of this size; more is a MemoryError."""
    allowed = Allowance.for_size(n_bytes).memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def fault_apart(read: Read, content: bytes) -> str | None:
    """`fault_of` in a process of its own, which may crash or hang."""
    ours, theirs = os.pipe()
    process = os.fork()
    if process == 0:
        faulthandler.disable()  # a crash is an answer here
        try:
            limit_memory(len(content))
            resource.setrlimit(resource.RLIMIT_CPU, (2 * CPU_SECONDS, 2 * CPU_SECONDS + 1))
            os.write(theirs, (fault_of(read, content) or "").encode()[:1000])
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    return said or None if status == 0 else Signals(-status).name


def minimised(read: Read, content: bytes, seconds: float) -> bytes:
    """A smaller input with the same fault, as far as the time goes: pieces left out, then bytes made plain."""
    fault, ends = fault_apart(read, content), time.monotonic() + seconds
    smaller: bytes | None = content
    while smaller is not None and fault is not None:
        content = smaller
        smaller = next(
            (one for one in _smaller(content) if time.monotonic() < ends and fault_apart(read, one) == fault), None
        )
    return content


def _smaller(content: bytes) -> Iterator[bytes]:
    n_bytes = len(content)
    while n_bytes := n_bytes // 2:
        for at in range(0, len(content), n_bytes):
            yield content[:at] + content[at + n_bytes :]
    n_bytes = len(content)
    while n_bytes := n_bytes // 2:
        for at in range(0, len(content), n_bytes):
            if content[at : at + n_bytes].strip(b"0"):
                yield content[:at] + b"0" * len(content[at : at + n_bytes]) + content[at + n_bytes :]
