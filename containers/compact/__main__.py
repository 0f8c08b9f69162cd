"""Takes the rows that lie beside results into the Parquet files of the catalogue, once, and ends."""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from containers import command_line
from raki.catalogue import compact
from raki.errors import RakiError, TransientError
from raki.service import metrics
from raki.service.process import run_container
from raki.service.settings import CompactSettings, from_environment

LOG = logging.getLogger("raki.compact")

GRACE_S = 60
"""What a compaction that is out of time is given to end by itself. Then the kernel ends it, whatever it is at."""


class OutOfTime(Exception):
    """The compaction takes longer than it may."""


@contextmanager
def limited(limit_s: int) -> Iterator[None]:
    """Raises OutOfTime in the block after `limit_s` seconds: neither ECS nor EventBridge ends a task that hangs.

    By a signal, whose second one needs no interpreter to end the process. The container's first process is Docker's
    own, so that it does (signal(7): none does to the first one).
    """

    def end(_signal: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(GRACE_S)
        raise OutOfTime

    previous = signal.signal(signal.SIGALRM, end)
    signal.alarm(limit_s)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def run(settings: CompactSettings) -> None:
    """One compaction, and what it did as metrics. Paths of damaged rows may be patients' names: their number is logged.

    Raises:
        SystemExit: it failed; the exit code says of what kind, and the log why, in no words but our own.
        BotoCoreError, ClientError: AWS's fault.
    """
    began_s = time.monotonic()
    try:
        with limited(settings.limit_s):
            done = compact(f"s3://{settings.results_bucket}")
    except Exception as error:
        failure = error.failure_class if isinstance(error, RakiError) else type(error).__name__
        metrics.emit("not compacted", {"CompactionFailures": 1}, failure_class=failure)
        if isinstance(error, BotoCoreError | ClientError):
            raise
        LOG.exception("compaction failed")
        sys.exit(error.exit_code if isinstance(error, RakiError) else 1)
    if done.damaged:
        LOG.warning("damaged rows were passed over", extra={"n_damaged": len(done.damaged)})
    metrics.emit(
        "compacted",
        {"Compactions": 1, "CompactionSeconds": round(time.monotonic() - began_s, 3)},
        n_results=done.n_results,
        n_gone=done.n_gone,
        n_parts=done.n_parts,
        n_bytes=done.n_bytes,
    )


def main() -> int:
    """The container's entry point. One that is stopped has changed nothing: the next one does its work."""
    command_line.parse("compact", __doc__, CompactSettings)
    return run_container(
        lambda: run(from_environment(CompactSettings)), exit_code_when_stopped=TransientError.exit_code
    )


if __name__ == "__main__":
    sys.exit(main())
