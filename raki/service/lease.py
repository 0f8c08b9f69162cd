"""Messages held while they are worked on: received, kept invisible by a heartbeat, deleted or given back."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from botocore.client import BaseClient

LOG = logging.getLogger("raki.lease")


@dataclass(frozen=True, kw_only=True)
class Message:
    """One delivery of one message."""

    body: str
    receipt: str
    n_received: int = 1
    """How often it was delivered, about, this time among them."""
    sent_at_s: float = 0.0
    """Seconds since 1970 at which it came into the queue."""


class Consumer:
    """One queue's messages, one at a time. How long a lease lasts is the queue's own visibility timeout."""

    def __init__(self, sqs: BaseClient, queue_url: str, dead_letters_url: str) -> None:
        self._sqs = sqs
        self._url = queue_url
        self._dead_letters_url = dead_letters_url
        attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["VisibilityTimeout"])
        self.lease_s = int(attributes["Attributes"]["VisibilityTimeout"])

    def receive(self, *, wait_s: int) -> Message | None:
        """The next message, or None when none came within `wait_s` seconds (20 at most)."""
        answer = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=1,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            WaitTimeSeconds=wait_s,
        )
        for message in answer.get("Messages", []):
            attributes = message["Attributes"]
            return Message(
                body=message["Body"],
                receipt=message["ReceiptHandle"],
                n_received=int(attributes["ApproximateReceiveCount"]),
                sent_at_s=int(attributes["SentTimestamp"]) / 1000,
            )
        return None

    def delete(self, message: Message) -> None:
        """Done with it, for good."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message.receipt)

    def bury(self, message: Message) -> None:
        """Puts it among the dead letters: nobody will understand it.

        SQS itself moves only what was received too often. A crash between the two calls buries it twice.
        """
        self._sqs.send_message(QueueUrl=self._dead_letters_url, MessageBody=message.body)
        self.delete(message)

    def give_back(self, message: Message, *, after_s: int) -> None:
        """Lets it be delivered again after `after_s` seconds."""
        self._sqs.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=message.receipt, VisibilityTimeout=after_s
        )

    def extend(self, message: Message) -> None:
        """Starts the lease anew."""
        self.give_back(message, after_s=self.lease_s)


class Heartbeat:
    """Calls `beat` from a thread every `interval_s` seconds until the block is left.

    A beat that fails is logged and tried again at the next one: three fit into a lease.
    """

    def __init__(self, beat: Callable[[], None], interval_s: float) -> None:
        self._beat = beat
        self._interval_s = interval_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._interval_s):
            try:
                self._beat()
            except Exception:  # whatever it was: without a heartbeat the scan is soon another's as well
                LOG.warning("heartbeat failed", exc_info=True)
