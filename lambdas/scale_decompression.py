"""Sets the number of decompression workers from the depth of the ingest queue. Runs each minute, one at a time."""

from math import ceil
from typing import Any

import boto3

from raki.service import log
from raki.service.depth import QueueDepth, depth
from raki.service.ledger import Ledger
from raki.service.settings import ScaleSettings, from_environment

LOG = log.configure()
ECS = boto3.client("ecs")
SQS = boto3.client("sqs")
DYNAMODB = boto3.client("dynamodb")

MESSAGES_PER_WORKER = 2
"""A scan takes about as long as a worker takes to start: beyond two waiting scans another worker pays off."""
QUIET_POLLS = 3
"""SQS's counts are right only a minute after the last change, so one quiet poll proves nothing."""


def desired_workers(queue: QueueDepth, *, current: int, quiet_polls: int, max_workers: int) -> int:
    """How many workers there should be.

    Messages in flight count: they are scans being worked on. ECS chooses itself which worker it stops, so the
    count only falls, and then to zero, when nobody has been at work for a while.
    """
    needed = min(max_workers, ceil(queue.total / MESSAGES_PER_WORKER))
    if needed:
        return max(needed, min(current, max_workers))
    return 0 if quiet_polls >= QUIET_POLLS else current


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Reads the queue's depth and the service, and changes the desired count where it has to change."""
    settings = from_environment(ScaleSettings)
    queue = depth(SQS, settings.ingest_queue_url)
    (service,) = ECS.describe_services(cluster=settings.cluster, services=[settings.service])["services"]
    current = service["desiredCount"]
    ledger = Ledger(DYNAMODB, settings.ledger_table)
    desired = desired_workers(
        queue,
        current=current,
        quiet_polls=ledger.count_quiet_poll("scale_decompression", quiet=queue.total == 0),
        max_workers=settings.max_workers,
    )
    if desired != current:
        ECS.update_service(cluster=settings.cluster, service=settings.service, desiredCount=desired)
    decision = {"waiting": queue.waiting, "in_flight": queue.in_flight, "current": current, "desired": desired}
    LOG.info("scaled" if desired != current else "unchanged", extra=decision)
    return decision
