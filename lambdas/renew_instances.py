"""Has the GPU instances start from AWS's newest image, once a week. Runs each day, when a site's night is quiet.

A compute environment keeps the image that it was made with: AWS Batch User Guide, "Compute resource AMIs". What it
takes to renew it stands there under "Perform infrastructure updates": the service-linked role, and another strategy
than BEST_FIT. Instances at work end their job first, for as long as one may run.
"""

import time
from dataclasses import replace
from typing import Any

import boto3
from botocore.exceptions import ClientError

from raki.service import log, metrics
from raki.service.bookkeeping import Bookkeeping
from raki.service.renewal import KEPT, Renewal
from raki.service.scheduling import PATIENT
from raki.service.settings import RenewSettings, from_environment

LOG = log.configure()
BATCH = boto3.client("batch", config=PATIENT)
DYNAMODB = boto3.client("dynamodb", config=PATIENT)

JOB_MINUTES = 360
"""As long as a job may run; Batch would end one after half an hour."""


def handler(_event: dict[str, Any], _context: object) -> dict[str, float]:
    """Asks for the newest image where that is due, and measures how old the one is that there is."""
    settings = from_environment(RenewSettings)
    books, now_s = Bookkeeping(DYNAMODB, settings.ledger_table), time.time()
    arns = settings.compute_environments.split(",")
    found = BATCH.describe_compute_environments(computeEnvironments=arns)["computeEnvironments"]
    statuses = [one["status"] for one in found]
    renewal = Renewal.from_json(books.kept(KEPT)).seen(statuses)
    if renewal.is_due(now_s, statuses) and sum(map(_renewed, arns)) == len(arns):
        renewal = replace(renewal, asked_s=now_s)
        LOG.info("the newest image was asked for")
    books.keep(KEPT, renewal.to_json())
    age_days = renewal.age_days(now_s)
    values = {} if age_days is None else {"ImageAgeDays": round(age_days, 2)}
    metrics.emit("image of the GPU instances", values, statuses=statuses)
    return values


def _renewed(arn: str) -> bool:
    """Whether Batch takes the order; one that it refuses is logged, and given again on the next day."""
    try:
        BATCH.update_compute_environment(
            computeEnvironment=arn,
            computeResources={"updateToLatestImageVersion": True},
            updatePolicy={"terminateJobsOnUpdate": False, "jobExecutionTimeoutMinutes": JOB_MINUTES},
        )
    except ClientError:
        LOG.exception("an environment's image can't be renewed")
        return False
    return True
