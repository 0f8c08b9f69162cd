"""Imports finished results into a data store of AWS HealthImaging, and notes what came of it.

Its queue tells it of each manifest that is written, as it tells the sender to a picture archive, and of each of its
jobs that has ended.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import ClientError

from raki.errors import Superseded, TransientError
from raki.manifest import MANIFEST
from raki.service import log, metrics
from raki.service.importing import (
    JOB_NAME,
    Ended,
    Places,
    client_token,
    ended,
    is_of_healthimaging,
    stage_images,
    why_not_imported,
    why_too_large,
)
from raki.service.ledger import Ledger
from raki.service.messages import NotUnderstood, completed
from raki.service.objects import read_manifest
from raki.service.record import HAS_RESULT, Outlet, Reached, ScanRecord, Sending
from raki.service.scheduling import PATIENT
from raki.service.sending import (
    Overtaken,
    Sendings,
    digest_of,
    images_of,
    is_too_old,
    wait_before_next,
)
from raki.service.settings import ImportSettings, from_environment

LOG = log.configure()
# A large image takes minutes to be copied within S3, which answers when it is done.
S3 = boto3.client("s3", config=PATIENT.merge(Config(read_timeout=300)))
SQS = boto3.client("sqs", config=PATIENT)
DYNAMODB = boto3.client("dynamodb", config=PATIENT)
HEALTHIMAGING = boto3.client("medical-imaging", config=PATIENT)

SUMMARY_WITHIN = timedelta(hours=1)
"""So long after its end a job's summary is waited for."""
NOTED_WITHIN_S = 300
"""So long a job that has ended is looked for in the ledger: one may end before its start is noted there."""
FOR_THE_MOMENT = ("InternalServerException", "ServiceQuotaExceededException", "ThrottlingException")
"""HealthImaging has enough to do, and says so to everybody now and then."""
AT_WORK = ("SUBMITTED", "IN_PROGRESS")


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Sees to each message; names those that are to come again.

    One that can't be understood is buried; Lambda deletes it with those that are done. AWS Lambda Developer Guide,
    "Reporting batch item failures".
    """
    settings = from_environment(ImportSettings)
    clients = Clients(s3=S3, sqs=SQS, dynamodb=DYNAMODB, healthimaging=HEALTHIMAGING)
    importer = Importer(settings, clients)
    again = [record["messageId"] for record in event["Records"] if not importer.see_to(record)]
    return {"batchItemFailures": [{"itemIdentifier": name} for name in again]}


@dataclass(frozen=True, kw_only=True)
class Clients:
    """What an import talks to."""

    s3: BaseClient
    sqs: BaseClient
    dynamodb: BaseClient
    healthimaging: BaseClient


class Importer:
    """Works on one message at a time."""

    def __init__(
        self,
        settings: ImportSettings,
        clients: Clients,
        *,
        now_s: Callable[[], float] = time.time,
        jitter: Random | None = None,
    ) -> None:
        self._settings = settings
        self._s3, self._sqs, self._healthimaging = clients.s3, clients.sqs, clients.healthimaging
        self._ledger = Ledger(clients.dynamodb, settings.ledger_table)
        self._sendings = Sendings(clients.dynamodb, settings.ledger_table)
        self._now_s = now_s
        self._jitter = jitter or Random()  # noqa: S311 - it spreads waits

    def see_to(self, record: dict[str, Any]) -> bool:
        """Whether one of the queue's messages is done with; else it comes again after a while."""
        body, attributes = record["body"], record["attributes"]
        sent_at_s = int(attributes["SentTimestamp"]) / 1000
        try:
            if is_of_healthimaging(body):
                self._conclude(ended(body), sent_at_s)
            else:
                self._import(*completed(body), sent_at_s)
        except NotUnderstood:
            LOG.exception("message not understood")
            self._sqs.send_message(QueueUrl=self._settings.import_dead_letters_url, MessageBody=body)
        except (Overtaken, Superseded):
            LOG.info("not to be imported any more")
        except TransientError:
            LOG.info("not to be imported yet")
            return self._put_off(record, sent_at_s)
        except Exception as error:
            if _is_for_the_moment(error):
                LOG.info("HealthImaging is busy")
            else:
                LOG.exception("not imported")
                metrics.emit("imported later", {"ImportRetries": 1})
            return self._put_off(record, sent_at_s)
        return True

    def _put_off(self, record: dict[str, Any], sent_at_s: float) -> bool:
        """Lets a message come again after a while, or buries one that has been tried for days."""
        if is_too_old(sent_at_s, self._now_s()):
            metrics.emit("not imported", {"ImportFailures": 1})
            self._sqs.send_message(QueueUrl=self._settings.import_dead_letters_url, MessageBody=record["body"])
            return True
        with suppress(ClientError):  # it comes again all the same
            self._sqs.change_message_visibility(
                QueueUrl=self._settings.import_queue_url,
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=wait_before_next(int(record["attributes"]["ApproximateReceiveCount"]), self._jitter),
            )
        return False

    def _import(self, bucket: str, key: str, sent_at_s: float) -> None:
        """Starts a job for the result that a manifest lists, unless the data store has it or there is one."""
        folder = key.removesuffix(f"/{MANIFEST}")
        manifest = read_manifest(self._s3, bucket, folder)
        if manifest is None or not images_of(manifest):
            LOG.info("nothing to import")
            return
        scan = self._sendings.require_current(manifest)
        known = scan.importing
        of_same = known if known and known.digest == digest_of(manifest, self._settings.data_store_id) else None
        if of_same and of_same.reached is Reached.SENT:
            LOG.info("imported already", extra={"scan_id": scan.scan_id})
            return
        if of_same and of_same.reached is Reached.STARTED:
            self._look(scan, of_same, manifest)
            return
        n_failed = of_same.n_failed if of_same else 0
        if sentence := why_too_large(manifest):
            self._give_up(scan, self._attempt(manifest, Reached.GIVEN_UP, reason=sentence, n_failed=n_failed))
            return
        self._start(scan, manifest, bucket, folder, n_failed=n_failed, sent_at_s=sent_at_s)

    def _start(
        self,
        scan: ScanRecord,
        manifest: dict[str, Any],
        bucket: str,
        folder: str,
        *,
        n_failed: int,
        sent_at_s: float,
    ) -> None:
        token = client_token(manifest, self._settings.data_store_id, n_failed)
        places = Places(bucket=self._settings.imports_bucket, scan_id=scan.scan_id, token=token)
        stage_images(self._s3, bucket, folder, manifest, places)
        # Another version may take the folder over at any moment: nothing of this one is imported then.
        scan = self._sendings.require_current(manifest)
        try:
            job = self._healthimaging.start_dicom_import_job(
                clientToken=token,
                dataAccessRoleArn=self._settings.data_access_role_arn,
                datastoreId=self._settings.data_store_id,
                inputS3Uri=places.uri(places.images),
                jobName=JOB_NAME.format(scan.scan_id),
                outputS3Uri=places.uri(places.reports),
            )
        except ClientError as error:
            if not _is_for_the_moment(error):
                code = error.response["Error"]["Code"]
                over = is_too_old(sent_at_s, self._now_s())
                reached, reason = (Reached.GIVEN_UP if over else Reached.WAITS), f"HealthImaging starts no job: {code}."
                self._note(scan, self._attempt(manifest, reached, reason=reason, n_failed=n_failed))
            raise
        started = self._attempt(manifest, Reached.STARTED, job=job["jobId"], n_failed=n_failed)
        self._note(scan, started)
        LOG.info("import started", extra={"scan_id": scan.scan_id, "job_id": job["jobId"]})

    def _conclude(self, told: Ended | None, sent_at_s: float) -> None:
        """Notes what came of a job of ours that has ended."""
        scan = self._ledger.get(told.scan_id) if told else None
        if told is None or scan is None or scan.state not in HAS_RESULT:
            return
        known = scan.importing
        if known is None or known.job != told.job_id:
            if self._now_s() - sent_at_s < NOTED_WITHIN_S:
                raise TransientError("the job isn't the one that is noted, or not yet")
            return
        manifest = read_manifest(self._s3, self._settings.results_bucket, scan.results_folder)
        if manifest and digest_of(manifest, self._settings.data_store_id) == known.digest:
            self._look(scan, known, manifest)

    def _look(self, scan: ScanRecord, known: Sending, manifest: dict[str, Any]) -> None:
        """Asks how a job is, and notes how it ended.

        Raises:
            TransientError: it has just ended, and nothing says yet how.
        """
        if known.reached is not Reached.STARTED:
            return
        job = self._healthimaging.get_dicom_import_job(datastoreId=known.to, jobId=known.job)["jobProperties"]
        if job["jobStatus"] in AT_WORK:
            self._note(scan, self._attempt(manifest, Reached.STARTED, job=known.job, n_failed=known.n_failed))
            return
        reason = self._why_not(manifest, known, job)
        if reason:
            n_failed = known.n_failed + 1
            failed = self._attempt(manifest, Reached.GIVEN_UP, job=known.job, reason=reason, n_failed=n_failed)
            self._give_up(scan, failed)
            return
        self._note(scan, self._attempt(manifest, Reached.SENT, job=known.job, n_failed=known.n_failed))
        metrics.emit("imported", {"Imported": 1}, scan_id=scan.scan_id, job_id=known.job)

    def _why_not(self, manifest: dict[str, Any], known: Sending, job: dict[str, Any]) -> str | None:
        if job["jobStatus"] != "COMPLETED":
            return f"The import failed: {job.get('message', 'HealthImaging gives no reason')}"
        token = client_token(manifest, known.to, known.n_failed)
        places = Places(bucket=self._settings.imports_bucket, scan_id=manifest["scan_id"], token=token)
        try:
            return why_not_imported(self._s3, places, len(images_of(manifest)))
        except TransientError:
            ended_at = job.get("endedAt")
            if ended_at and datetime.fromtimestamp(self._now_s(), UTC) - ended_at < SUMMARY_WITHIN:
                raise
            return "HealthImaging ended the import and left no summary of it."

    def _attempt(
        self, manifest: dict[str, Any], reached: Reached, *, n_failed: int, job: str = "", reason: str = ""
    ) -> Sending:
        return Sending(
            reached=reached,
            to=self._settings.data_store_id,
            at=datetime.fromtimestamp(self._now_s(), UTC),
            digest=digest_of(manifest, self._settings.data_store_id),
            reason=reason,
            job=job,
            n_failed=n_failed,
        )

    def _note(self, scan: ScanRecord, attempt: Sending) -> bool:
        return self._sendings.note(scan, attempt, Outlet.HEALTHIMAGING)

    def _give_up(self, scan: ScanRecord, attempt: Sending) -> None:
        if self._note(scan, attempt):
            metrics.emit("not imported", {"ImportFailures": 1}, scan_id=scan.scan_id, job_id=attempt.job)


def _is_for_the_moment(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in FOR_THE_MOMENT
