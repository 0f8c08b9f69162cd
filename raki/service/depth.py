"""How much a queue holds: what the two scaling Lambdas decide by."""

from dataclasses import dataclass

from botocore.client import BaseClient


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


def depth(sqs: BaseClient, queue_url: str) -> QueueDepth:
    """Reads a queue's depth."""
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    waiting, in_flight = (int(attributes[name]) for name in names)
    return QueueDepth(waiting=waiting, in_flight=in_flight)
