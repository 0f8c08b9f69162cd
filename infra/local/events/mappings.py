"""SQS event source mappings: polls the queues and hands batches of messages to Lambda functions."""

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from infra.local.account import REGION, Client
from infra.local.journal import Journal
from infra.local.moto import state
from infra.local.moto.state import Model

# What one ReceiveMessage returns at most.
_RECEIVE_LIMIT = 10
_POLL_S = 0.2
# Below this, a worker's own clock, which runs at the real speed, could be overtaken by a message that comes back.
LEAST_VISIBILITY_S = 15

Message = dict[str, Any]


class Mappings:
    """All mappings of the server, each delivering one batch at a time."""

    def __init__(self, connect: Callable[[str], Client], journal: Journal, *, speed: float) -> None:
        self._sqs = connect("sqs")
        self._lambda = connect("lambda")
        self._journal = journal
        self._speed = speed
        self._busy: set[str] = set()
        self._scaled: set[str] = set()

    def step(self) -> None:
        """Looks once at every queue that feeds a function, and at the queues that are new."""
        self._scale_new_queues()
        for mapping in state.event_source_mappings():
            if mapping.uuid not in self._busy and state.has_messages(mapping.event_source_arn):
                self._busy.add(mapping.uuid)
                threading.Thread(target=self._poll, args=(mapping,), name="event source mapping", daemon=True).start()

    def _poll(self, mapping: Model) -> None:
        try:
            self._deliver_batch(mapping)
        except Exception as error:  # noqa: BLE001 - its messages come back; the next batch may fare better
            self._journal.note("error", f"event source mapping to {mapping.function_name}: {error!r}")
        finally:
            self._busy.discard(mapping.uuid)

    def _deliver_batch(self, mapping: Model) -> None:
        queue_name = mapping.event_source_arn.rpartition(":")[2]
        queue_url = self._sqs.get_queue_url(QueueName=queue_name)["QueueUrl"]
        messages = self._collect(queue_url, mapping)
        if not messages:
            return
        event = {"Records": [_record(message, mapping.event_source_arn) for message in messages]}
        answer = self._lambda.invoke(FunctionName=mapping.function_arn, Payload=json.dumps(event).encode())
        payload = json.loads(answer["Payload"].read() or b"null")
        failed = _failed_ids(messages, payload, mapping, error="FunctionError" in answer)
        for message in messages:
            if message["MessageId"] not in failed:
                self._sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])

    def _collect(self, queue_url: str, mapping: Model) -> list[Message]:
        """Up to a batch of messages: at once what is there, more for as long as the batching window lasts."""
        window_s = float(mapping.max_batch_window or 0) / self._speed
        messages: list[Message] = []
        deadline_s = time.monotonic()
        while len(messages) < mapping.batch_size:
            received = self._sqs.receive_message(
                QueueUrl=queue_url,
                MaxNumberOfMessages=min(_RECEIVE_LIMIT, mapping.batch_size - len(messages)),
                MessageAttributeNames=["All"],
                MessageSystemAttributeNames=["All"],
            ).get("Messages", [])
            if received and not messages:
                deadline_s = time.monotonic() + window_s
            messages += received
            if len(received) < _RECEIVE_LIMIT:
                if not messages or time.monotonic() >= deadline_s:
                    break
                time.sleep(_POLL_S)
        return messages

    def _scale_new_queues(self) -> None:
        """Messages of a failed worker come back as much sooner as the rest of the time runs faster."""
        for queue in state.queues():
            if queue.queue_arn in self._scaled:
                continue
            self._scaled.add(queue.queue_arn)
            asked_s = int(queue.visibility_timeout)
            scaled_s = max(min(asked_s, LEAST_VISIBILITY_S), int(asked_s / self._speed))
            if scaled_s != asked_s:
                self._sqs.set_queue_attributes(
                    QueueUrl=self._sqs.get_queue_url(QueueName=queue.name)["QueueUrl"],
                    Attributes={"VisibilityTimeout": str(scaled_s)},
                )


def _record(message: Message, queue_arn: str) -> dict[str, Any]:
    """One entry of the event. AWS Lambda developer guide, "Using Lambda with Amazon SQS"."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {"stringValue": value.get("StringValue"), "dataType": value["DataType"]}
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": REGION,
    }


def _failed_ids(messages: list[Message], payload: Any, mapping: Model, *, error: bool) -> set[str]:
    """The messages that stay in the queue. A report of failures that can't be read counts as the failure of all."""
    everything = {message["MessageId"] for message in messages}
    if error:
        return everything
    if "ReportBatchItemFailures" not in (mapping.function_response_types or []) or not payload:
        return set()
    try:
        failed = {item["itemIdentifier"] for item in payload.get("batchItemFailures") or []}
    except (AttributeError, KeyError, TypeError):
        return everything
    return failed if failed <= everything else everything
