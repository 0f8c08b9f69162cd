"""The process that readers of files begin from, and a reader itself: `python -I -c ... serve(FD, MODULES)`.

It has none of its caller's environment, memory or open files, and no thread, so that it may divide itself.
"""

import errno
import gc
import importlib
import json
import logging
import os
import pickle
import select
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any, NoReturn

from raki.errors import DamagedScan, RakiError, TransientError
from raki.sandbox.allowance import Allowance
from raki.sandbox.answers import encoded
from raki.sandbox.walls import enclose, places_of_python

LENGTH = struct.Struct("<Q")
MOST_DESCRIPTORS = 2


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is asked of a reader. It is put together by the one who asks, and by no file."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    allowance: Allowance
    reads: tuple[Path, ...]
    folder: Path
    walls: tuple[str, ...]


def serve(control_fd: int, modules: Sequence[str]) -> None:
    """Stands ready until the one who asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.getLogger("raki.plugins").disabled = True  # the one who asks has said it
    with socket.socket(fileno=control_fd) as control:
        _load(modules)
        places_of_python()
        while (received := _receive(control)) is not None:
            task, descriptors = received
            alive, ended = os.pipe()
            process = os.fork()
            if process == 0:
                control.close()
                os.close(alive)
                work(task, descriptors)
            for descriptor in (*descriptors, ended):
                os.close(descriptor)
            # Whoever asks may end it at any time, by a word or by going away.
            if control.fileno() in select.select([alive, control.fileno()], [], [])[0]:
                os.kill(process, signal.SIGKILL)
            os.close(alive)
            status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            control.sendall(struct.pack("<i", status))


def _load(modules: Sequence[str]) -> None:
    """What is loaded is no garbage: it isn't searched for any, neither now nor in the copies of this process."""
    gc.disable()
    for name in modules:
        module, _, function = name.partition(":")
        loaded = importlib.import_module(module)
        if function:
            getattr(loaded, function)()
    gc.freeze()
    gc.enable()


def work(task: bytes, descriptors: list[int]) -> NoReturn:
    """In the reader: does what is asked, within walls, and answers."""
    answer_fd, *fed = descriptors
    try:
        answer = _answer(task, fed)
        with os.fdopen(answer_fd, "wb") as pipe:
            pipe.write(json.dumps(answer).encode())
    finally:
        os._exit(0)


def _answer(content: bytes, fed: list[int]) -> dict[str, Any]:
    silence = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(silence, standard)
    task: Task = pickle.loads(content)  # noqa: S301  # of the one who asks
    streams = [os.fdopen(descriptor, "rb", buffering=1 << 20) for descriptor in fed]
    tempfile.tempdir = str(task.folder)
    n_bytes = sum(path.stat().st_size for path in task.reads if path.is_file())
    try:
        enclose(task.walls, task.allowance, reads=task.reads, folder=task.folder, n_read_bytes=n_bytes)
    except OSError as error:
        # No file is read without the walls that this machine has.
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        return {
            "raised": encoded(TransientError(f"a wall around reading files could not be put up ({name}); try again"))
        }
    try:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that is too large is an error where it is written
        return {"returned": encoded(task.function(*streams, *task.arguments))}
    except RakiError as error:
        return {"raised": encoded(error)}
    except MemoryError:
        return {"raised": encoded(out_of_memory(task.allowance))}
    except Exception as error:  # noqa: BLE001  # the one who asks says what becomes of it
        return {"defect": _described(error)}


def out_of_memory(allowance: Allowance) -> DamagedScan:
    """The error for a file that takes more memory than one of its size may."""
    return DamagedScan(
        f"reading the file took more than {allowance.memory_bytes >> 20} MiB of memory, which no sound file of its "
        "size does; copy or export the scan again"
    )


def _described(error: Exception) -> dict[str, str]:
    """An exception's type and our innermost line; never its text, which may quote the file."""
    places = [
        f"{frame.f_globals.get('__name__')}:{line}"
        for frame, line in walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith("raki.")
    ]
    return {"exception": type(error).__name__, "at": places[-1] if places else "", "python": sys.version.split()[0]}


def _receive(control: socket.socket) -> tuple[bytes, list[int]] | None:
    start, descriptors, _, _ = socket.recv_fds(control, LENGTH.size, MOST_DESCRIPTORS)
    if not start:
        return None
    (n_left,) = LENGTH.unpack(start)
    blocks = []
    while n_left and (block := control.recv(n_left)):
        blocks.append(block)
        n_left -= len(block)
    return b"".join(blocks), descriptors
