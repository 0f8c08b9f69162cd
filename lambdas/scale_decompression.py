"""Sets the number of decompression workers from the depth of the ingest queue. Runs each minute, one at a time."""

from math import ceil
from typing import Any

import boto3

from raki.service import log
from raki.service.bookkeeping import Bookkeeping
from raki.service.ledger import State
from raki.service.scheduling import PATIENT, QueueDepth, schedule
from raki.service.settings import ScaleSettings, from_environment

log.configure()
ECS = boto3.client("ecs", config=PATIENT)
SQS = boto3.client("sqs")
DYNAMODB = boto3.client("dynamodb")

NAME = "scale_decompression"
MESSAGES_PER_WORKER = 2
"""A scan takes about as long as a worker takes to start: beyond two waiting scans another worker pays off."""
QUIET_POLLS = 3
"""SQS's counts are right only a minute after the last change, so one quiet poll proves nothing."""


def desired_workers(queue: QueueDepth, *, current: int, quiet_polls: int, max_workers: int, is_deploying: bool) -> int:
    """How many workers there should be.

    Messages in flight count: they are scans being worked on. ECS chooses itself which worker it stops, so the
    count only falls, and then to zero, when nobody has been at work for a while. While a deployment is replacing
    workers it doesn't fall at all, for the old ones are counted too; it may rise, as under ECS's own scaling.
    """
    current = min(current, max_workers)
    needed = min(max_workers, ceil(queue.total / MESSAGES_PER_WORKER))
    if needed == 0 and quiet_polls >= QUIET_POLLS and not is_deploying:
        return 0
    return max(needed, current)


def handler(_event: dict[str, Any], _context: object) -> dict[str, int]:
    """Reads the queue's depth and the service, and changes the desired count where it has to change."""
    settings = from_environment(ScaleSettings)
    return schedule(SQS, settings.ingest_queue_url, lambda queue: _scale(queue, settings), stage=State.DECOMPRESSING)


def _scale(queue: QueueDepth, settings: ScaleSettings) -> dict[str, int]:
    (service,) = ECS.describe_services(cluster=settings.cluster, services=[settings.service])["services"]
    current, running = service["desiredCount"], service["runningCount"]
    desired = desired_workers(
        queue,
        current=current,
        quiet_polls=Bookkeeping(DYNAMODB, settings.ledger_table).count_quiet_poll(NAME, quiet=queue.total == 0),
        max_workers=settings.max_workers,
        is_deploying=len(service.get("deployments", [])) > 1,
    )
    if desired != current:
        ECS.update_service(cluster=settings.cluster, service=settings.service, desiredCount=desired)
    return {
        "BacklogPerTask": ceil(queue.total / max(1, running)),
        "DesiredWorkers": desired,
        "RunningWorkers": running,
    }
