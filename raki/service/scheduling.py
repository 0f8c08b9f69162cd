"""What the two Lambdas that start machines for scans have in common. They run each minute, and at a drop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from raki.service import metrics
from raki.service.ledger import State

PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 4})
"""For clients of calls that are throttled: tried again within seconds, a few times."""

_FOR_THE_MOMENT = {
    "RequestLimitExceeded",
    "ServerException",
    "ServiceNotActiveException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}


@dataclass(frozen=True, kw_only=True)
class QueueDepth:
    """Messages in a queue; SQS's counts are approximate."""

    waiting: int
    in_flight: int
    """Delivered and not yet deleted: being worked on, or given back and still invisible."""

    @property
    def total(self) -> int:
        """All messages that somebody has to see to."""
        return self.waiting + self.in_flight


def schedule(
    sqs: BaseClient, queue_url: str, act: Callable[[QueueDepth], dict[str, int]], *, stage: State
) -> dict[str, int]:
    """Lets `act` decide by the queue's depth; what it decided is measured and returned.

    Where AWS refuses a call for the moment, nothing changes until the next minute.

    Raises:
        ClientError: waiting won't help: a permission or a parameter is wrong.
    """
    queue = depth(sqs, queue_url)
    decision = {"Waiting": queue.waiting, "InFlight": queue.in_flight}
    try:
        decision |= act(queue)
        event, reason = "decided", {}
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        if code not in _FOR_THE_MOMENT:
            raise
        event, reason = "unchanged", {"reason": code}
    metrics.emit(event, decision, Stage=stage, **reason)
    return decision


def is_poll(event: dict[str, Any]) -> bool:
    """Whether it is the schedule that calls, once a minute, and not a notice. Amazon EventBridge User Guide, "Scheduled
    events"."""
    return event.get("detail-type") == "Scheduled Event"


def expected(event: dict[str, Any]) -> int:
    """Scans that are there for certain: SQS may not count yet what a notice speaks of."""
    return 0 if is_poll(event) else 1


def at_least(queue: QueueDepth, n_messages: int) -> QueueDepth:
    """The queue with so many messages, if SQS counts fewer."""
    return queue if queue.total >= n_messages else QueueDepth(waiting=n_messages, in_flight=0)


def depth(sqs: BaseClient, queue_url: str) -> QueueDepth:
    """Messages of a queue as SQS counts them, within about a minute."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    waiting, in_flight = (int(attributes[name]) for name in names)
    return QueueDepth(waiting=waiting, in_flight=in_flight)
