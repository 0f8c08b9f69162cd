"""Work on files from strangers in processes of their own, which can reach nothing and whose end harms nobody.

The libraries that read scanners' files are written in C or trust what they read: some broken files make them crash, run
for ever, or ask for all memory, and a file that is made for it may take them over.
"""

import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, TypeVar

from raki.errors import DamagedScan, ProcessLost
from raki.sandbox.allowance import Allowance
from raki.sandbox.answers import OtherForm, decoded, form_of
from raki.sandbox.conversation import Conversation, Source, starter_lost
from raki.sandbox.reader import LENGTH, Task
from raki.sandbox.walls import WALLS, standing

LOG = logging.getLogger("raki.sandbox")
Result = TypeVar("Result")

# What a process does to itself. Any other signal comes from outside, and the file is not to blame.
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP)
# What a new process needs of the environment. Nothing else is handed on: it holds the keys to the account.
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH")
# The products are small, and the threads of a scan's slices work beside each other: more of them would wait, spinning.
# And a process with one thread may divide itself.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
START = "import sys; sys.path[:] = {path!r}; from raki.sandbox.reader import serve; serve({fd}, {modules!r})"


class Readers:
    """Runs functions on files, each in a new process that is enclosed by what the machine has of `WALLS`.

    The process that stands ready has loaded what reading takes. Readers are copies of it, made before it has seen any
    file, so that none sees another's. All end with this process.

    Args:
        modules: loaded beforehand; of `module:function` the function is called too, for what it remembers.
        walls: those to put up. Of these, what the machine lacks is logged once.
    """

    def __init__(self, modules: Sequence[str] = (), *, walls: Sequence[str] = WALLS) -> None:
        self._modules = tuple(modules)
        self._walls = tuple(wall for wall in walls if wall in _standing())
        self._start()

    def __enter__(self) -> "Readers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def contained(
        self,
        function: Callable[..., Result],
        *arguments: Any,
        allowance: Allowance,
        reads: Sequence[Path] = (),
        folder: Path | None = None,
        feed: Source | None = None,
    ) -> Result:
        """The function's result, or the raki error that it raised.

        Args:
            function: of a module, and annotated with what it returns, of which `answers.encoded` says what it may be.
            reads: the files and folders that it may read.
            folder: where it may write, and nowhere else. What it leaves there is the caller's to judge and to remove.
            feed: handed on as it comes, and given to the function as its first argument.

        Raises:
            DamagedScan: it crashed, used more than it may, met an error that nobody foresaw, or answered in another
                form.
            ProcessLost: it was killed from outside.
        """
        if folder is None:
            with TemporaryDirectory() as passing:
                return self.contained(
                    function, *arguments, allowance=allowance, reads=reads, folder=Path(passing), feed=feed
                )
        task = Task(
            function=_from_anywhere(function),
            arguments=_from_anywhere(arguments),
            allowance=allowance,
            reads=tuple(path.resolve() for path in reads),
            folder=folder.resolve(),
            walls=self._walls,
        )
        if self._process.poll() is not None:
            self._end()
            self._start()
        try:
            answer, exit_code, excess = self._ask(task, feed)
        except BaseException:
            # The answer would be taken for that to the next question.
            self._end()
            raise
        if excess:
            self._end()  # the word that ended the reader may still lie where the next task is expected
            raise DamagedScan(
                f"reading the file took {excess}, which no sound file of its size does; copy or export the scan again"
            )
        if exit_code != 0 or not answer:
            raise _end_named(exit_code, allowance)
        return _result(answer, function)

    def _ask(self, task: Task, feed: Source | None) -> tuple[bytes, int, str]:
        """The answer, how the process ended, and of what it took too much if it was ended for that."""
        answer_ours, answer_theirs = os.pipe()
        feed_theirs, feed_ours = os.pipe() if feed is not None else (None, None)
        try:
            content = pickle.dumps(task)
            theirs = [answer_theirs] if feed_theirs is None else [answer_theirs, feed_theirs]
            try:
                socket.send_fds(self._control, [LENGTH.pack(len(content))], theirs)
                self._control.sendall(content)
            except OSError:
                raise starter_lost() from None
            finally:
                for descriptor in theirs:
                    os.close(descriptor)
            conversation = Conversation(self._control, answer_ours, task.allowance, task.folder)
            return conversation.run(feed, feed_ours)
        finally:
            os.close(answer_ours)

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            path = [place for place in sys.path if place and Path(place).is_absolute()]
            code = START.format(path=path, fd=theirs.fileno(), modules=self._modules)
            kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", code],
                env=kept | ONE_THREAD,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
            )

    def _end(self) -> None:
        self._control.close()
        self._process.kill()
        self._process.wait()


def _from_anywhere(what: Any) -> Any:
    """Paths as they are found from any folder, in lists and partial functions too: a reader is in no folder of ours."""
    if isinstance(what, Path):
        return what.absolute()
    if type(what) in (list, tuple):
        return type(what)(_from_anywhere(one) for one in what)
    if isinstance(what, partial):
        named = {name: _from_anywhere(value) for name, value in what.keywords.items()}
        return partial(what.func, *_from_anywhere(what.args), **named)
    return what


def _result(answer: bytes, function: Callable[..., Result]) -> Result:
    try:
        result: Result = decoded(answer, form_of(function))
    except OtherForm as defect:
        LOG.error("a defect: reading a file met %s", defect, extra={"defect": str(defect)})
        raise DamagedScan(
            "reading the file met an error that nobody foresaw, and which was logged for raki's developers; export the "
            "scan again, or in another format"
        ) from None
    return result


def _end_named(exit_code: int, allowance: Allowance) -> Exception:
    if -exit_code == signal.SIGXCPU:
        return DamagedScan(
            f"reading the file took more than {allowance.seconds} s of computing, which no sound file of its size "
            "does; copy or export the scan again"
        )
    if exit_code == 0 or -exit_code in CRASHES:
        name = signal.Signals(-exit_code).name if exit_code else "no answer"
        return DamagedScan(
            f"reading the file brought its process down ({name}), which no sound file does; "
            "copy or export the scan again"
        )
    return ProcessLost(f"the process that read the file was ended from outside (exit code {exit_code}); try again")


_STANDING: list[tuple[str, ...]] = []


def _standing() -> tuple[str, ...]:
    """What the machine has of `WALLS`; asked once, and what is missing is logged then."""
    if not _STANDING:
        _STANDING.append(standing())
        missing = [wall for wall in WALLS if wall not in _STANDING[0]]
        if missing:
            LOG.warning("files are read without some of the walls around that", extra={"missing": missing})
    return _STANDING[0]


def contained(function: Callable[..., Result], *arguments: Any, allowance: Allowance, **access: Any) -> Result:
    """What `Readers.contained` does, from a process that is begun for it, which takes a second or two."""
    with Readers() as readers:
        return readers.contained(function, *arguments, allowance=allowance, **access)
