"""Whose fault it was that an attempt failed, and how long is waited before the next."""

import errno
import logging
import time
from collections.abc import Callable
from math import ceil
from random import Random

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from raki.errors import ProcessLost, TransientError

LOG = logging.getLogger("raki.faults")

LEASES_PER_WAIT = 2.5
"""The longest wait, in leases: five minutes where a lease is two. So long a scan stands still after an outage."""
MAX_FAULTS = 400
"""Tries that the surroundings may spoil in one stage. With the longest wait, and jitter, that is 16 to 33 hours of
outage; the queues, which deliver a message up to 1,000 times within 7 days, still have room for what else sends it
back."""

_OF_THE_OBJECT = {"404", "InvalidObjectState", "KeyTooLongError", "NoSuchKey", "NoSuchVersion", "ValidationException"}
"""Refusals that say something about the one object or item, and that no waiting changes.

Amazon S3 API reference, "Error responses"."""
_OF_THE_MACHINE = {
    errno.EDQUOT,
    errno.EHOSTUNREACH,
    errno.EIO,
    errno.EMFILE,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENFILE,
    errno.ENOSPC,
    errno.ESTALE,
}


def is_passing(error: BaseException) -> bool:
    """Whether the surroundings are at fault (AWS, the network, a permission, the disk), so that waiting helps.

    What isn't known to be theirs may be the scan's: an error of ours that it brings to light, or all memory used up.
    """
    if isinstance(error, ClientError):
        return error.response["Error"]["Code"] not in _OF_THE_OBJECT
    if isinstance(error, TransientError):
        return not isinstance(error, ProcessLost)
    if isinstance(error, BotoCoreError | Boto3Error | ResponseParserError | ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE


def wait_before_next(n_failed: int, *, lease_s: int, jitter: Random) -> int:
    """Seconds until the next try: twice as long each time up to a limit, the last half of it left to chance.

    Without chance all scans that an outage stopped would come back at the same second.
    """
    longest_s = min(LEASES_PER_WAIT * lease_s, 2.0 ** min(n_failed, 30))
    return max(1, ceil(longest_s * jitter.uniform(0.5, 1.0)))


def persist(call: Callable[[], None], *, lease_s: int, jitter: Random) -> None:
    """Calls, and calls again while AWS fails, for half a lease.

    Raises:
        ClientError, BotoCoreError: what the last call raised.
    """
    until_s = time.monotonic() + lease_s / 2
    n_failed = 0
    while True:
        try:
            return call()
        except (ClientError, BotoCoreError):
            n_failed += 1
            wait_s = wait_before_next(n_failed, lease_s=lease_s, jitter=jitter)
            if time.monotonic() + wait_s > until_s:
                raise
            LOG.warning("tried again", extra={"n_failed": n_failed}, exc_info=True)
            time.sleep(wait_s)
