"""A process that has loaded what reading takes: those that read files begin from it in a moment."""

import ctypes
import importlib
import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, TypeVar

from raki.errors import TransientError
from raki.prepare.containment import PR_SET_PDEATHSIG, Allowance, contained

Result = TypeVar("Result")
# Beside what a file is allowed, for the way there and back.
_GRACE_S = 60


class Readers:
    """`contained` without the second or two in which a new Python loads NumPy and the formats, once for each scan.

    The process that stands ready is begun anew, as each reader was: it has neither memory nor open files of this one,
    the connections to AWS among them. Readers are copies of it, made before it has seen any file, so that none sees
    another's. All end with this process.

    Args:
        modules: loaded beforehand.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = tuple(modules)
        self._start()

    def __enter__(self) -> "Readers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def contained(self, function: Callable[..., Result], *arguments: Any, allowance: Allowance) -> Result:
        """What `raki.prepare.contained` gives and raises."""
        if not self._process.is_alive():
            self._end()
            self._start()
        try:
            self._pipe.send((function, arguments, allowance))
            if not self._pipe.poll(allowance.seconds + _GRACE_S):
                raise EOFError
            outcome, value = self._pipe.recv()
        except (EOFError, OSError):
            self._end()
            self._start()
            raise TransientError("the process that readers begin from was ended from outside; try again") from None
        except BaseException:
            # The answer would be taken for that to the next question.
            self._end()
            raise
        if outcome == "raised":
            raise value
        result: Result = value
        return result

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_stand_ready, args=(theirs, self._modules))
        self._process.start()
        theirs.close()

    def _end(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _stand_ready(pipe: Connection, modules: Sequence[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    for module in modules:
        importlib.import_module(module)
    while True:
        try:
            function, arguments, allowance = pipe.recv()
        except EOFError:
            return
        try:
            value = contained(_alone, pipe, function, *arguments, allowance=allowance, start="fork")
            outcome: tuple[str, Any] = "returned", value
        except Exception as error:  # noqa: BLE001 - handed on whole: the caller raises it
            outcome = "raised", error
        pipe.send(outcome)


def _alone(pipe: Connection, function: Callable[..., Any], *arguments: Any) -> Any:
    """In the reader: whoever takes it over can't answer for others."""
    pipe.close()
    return function(*arguments)
