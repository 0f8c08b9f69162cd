"""Work on files from strangers in a process of its own, whose crash, hang or hunger for memory ends nothing else.

The libraries that read scanners' files are written in C or trust what they read: some broken files make them crash, run
for ever, or ask for all memory, and no exception comes of it.
"""

import ctypes
import multiprocessing
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeVar

from raki.errors import DamagedScan, ProcessLost

Result = TypeVar("Result")

# What a process does to itself. Any other signal comes from outside, and the file is not to blame.
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGXCPU)
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What a file may cost before it is taken for broken."""

    seconds: int
    """Wall clock, and as much of the processors'."""
    memory_bytes: int = 8 << 30
    """Address space, of which libraries reserve far more than they use."""

    @classmethod
    def for_size(cls, n_bytes: int) -> "Allowance":
        """Enough for a sound file of this size on a slow machine."""
        return cls(seconds=120 + n_bytes // 2_000_000)


def contained(
    function: Callable[..., Result], *arguments: Any, allowance: Allowance, start: Literal["spawn", "fork"] = "spawn"
) -> Result:
    """The function's result, or the exception that it raised, from a process of its own; both have to be picklable.

    `start` is how the process begins: `fork` is a hundred times quicker, and safe where the caller has no threads.

    Raises:
        DamagedScan: the process crashed, ran out of memory, or took longer than allowed.
        ProcessLost: the process was killed from outside.
    """
    context: Any = multiprocessing.get_context(start)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, allowance, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(allowance.seconds):
            raise DamagedScan(
                f"reading the file took longer than {allowance.seconds} s, which no sound file of its size does; "
                "copy or export the scan again"
            )
        outcome, value = ours.recv()
    except EOFError:
        process.join()
        raise _end_named(process.exitcode) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if outcome == "raised":
        raise value
    result: Result = value
    return result


def _end_named(exit_code: int | None) -> Exception:
    if exit_code is not None and -exit_code in CRASHES:
        return DamagedScan(
            f"reading the file brought its process down ({signal.Signals(-exit_code).name}), which no sound file does; "
            "copy or export the scan again"
        )
    return ProcessLost(f"the process that read the file was ended from outside (exit code {exit_code}); try again")


def _work(pipe: Connection, allowance: Allowance, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """The process's main: it is ended by its parent, with its parent, or by what it uses up, and by nothing else."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (allowance.memory_bytes, allowance.memory_bytes))
    n_seconds = allowance.seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (n_seconds, n_seconds))
    try:
        outcome = "returned", function(*arguments)
    except MemoryError:
        outcome = (
            "raised",
            DamagedScan(
                f"reading the file took more than {allowance.memory_bytes >> 20} MiB of memory, which no sound file "
                "does; copy or export the scan again"
            ),
        )
    except Exception as error:  # noqa: BLE001  # handed on whole: the caller raises it
        outcome = "raised", error
    pipe.send(outcome)
