"""Sets the number of decompression workers from the work in the ingest queue. Runs each minute and at a drop."""

from math import ceil
from typing import Any

import boto3

from raki.service import log
from raki.service.bookkeeping import Bookkeeping
from raki.service.fleet import DECOMPRESS_S, Limits, desired_workers, needed_workers
from raki.service.ledger import Ledger, State
from raki.service.scheduling import PATIENT, QueueDepth, at_least, expected, is_poll, schedule
from raki.service.settings import ScaleSettings, from_environment

log.configure()
ECS = boto3.client("ecs", config=PATIENT)
SQS = boto3.client("sqs")
DYNAMODB = boto3.client("dynamodb")

NAME = "scale_decompression"


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Reads the queue's depth and the service, and changes the desired count where it has to change."""
    settings = from_environment(ScaleSettings)
    return schedule(
        SQS,
        settings.ingest_queue_url,
        lambda queue: _scale(at_least(queue, expected(event)), settings, polled=is_poll(event)),
        stage=State.DECOMPRESSING,
    )


def _scale(queue: QueueDepth, settings: ScaleSettings, *, polled: bool) -> dict[str, int]:
    (service,) = ECS.describe_services(cluster=settings.cluster, services=[settings.service])["services"]
    current, running = service["desiredCount"], service["runningCount"]
    ledger = Ledger(DYNAMODB, settings.ledger_table)
    seconds = ledger.pace(State.DECOMPRESSING).seconds_a_scan(otherwise=DECOMPRESS_S)
    is_quiet = needed_workers(queue, seconds_a_scan=seconds) < current
    books = Bookkeeping(DYNAMODB, settings.ledger_table)
    desired = desired_workers(
        queue,
        seconds_a_scan=seconds,
        current=current,
        # Calls between two polls say nothing of how long it has been quiet.
        quiet_polls=books.count_quiet_poll(NAME, quiet=is_quiet) if polled else 0,
        limits=Limits(most=settings.max_workers, most_ever=settings.surge_workers),
        is_deploying=len(service.get("deployments", [])) > 1,
    )
    if desired != current:
        ECS.update_service(cluster=settings.cluster, service=settings.service, desiredCount=desired)
    return {
        "BacklogPerTask": ceil(queue.total / max(1, running)),
        "DesiredWorkers": desired,
        "RunningWorkers": running,
    }
