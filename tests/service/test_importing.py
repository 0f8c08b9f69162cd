"""A result is imported into HealthImaging once, whatever happens there and here, and what came of it is noted."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from lambdas.import_results import NOTED_WITHIN_S, Clients, Importer
from raki.service import importing, objects
from raki.service.deployment import Deployment
from raki.service.importing import LARGEST_FILE, MOST_BYTES, MOST_FILES, client_token, ended, why_too_large
from raki.service.ledger import State
from raki.service.messages import NotUnderstood, ScanArrived, completion
from raki.service.operator import NotPossible, Operator
from raki.service.record import Reached
from raki.service.sending import GIVEN_UP_AFTER
from raki.service.settings import ImportSettings
from tests.embedded_metrics import metrics_in, named
from tests.service.conftest import arrive

DATA_STORE = "0123456789abcdef0123456789abcdef"
ROLE = "arn:aws:iam::123456789012:role/import"
FOLDER = "site/a"
STAGES = {State.DECOMPRESSING: State.PREPARED, State.RECONSTRUCTING: State.RECONSTRUCTED}


@dataclass
class Site:
    """A result in its bucket, HealthImaging by its API's model, and the importer."""

    cloud: object
    folder: object
    importer: Importer
    healthimaging: Stubber
    operator: Operator
    ahead_s: float = 0.0

    def reconstruct(self, images=("image.dcm", "snr.dcm"), *, at=None, etag="e1", content="image"):
        scan = ScanArrived(
            bucket="raw", key="site/a.h5", etag=etag, version_id=None, n_bytes=5, asked=content,
            at=at or datetime.now(UTC) - timedelta(hours=1),
        )  # fmt: skip
        arrive(self.cloud.ledger, "s", scan)
        for stage, done in STAGES.items():
            self.cloud.ledger.claim("s", stage, owner="w", lease_s=30)
            self.cloud.ledger.finish("s", done, owner="w")
        self.publish(images, content=content)

    def publish(self, images, *, outcome="reconstructed", content="image"):
        for name in (*images, "report.html", "image.h5"):
            (self.folder / name).write_text(f"{content} {name}")
        files = [self.folder / name for name in (*images, "report.html", "image.h5")]
        objects.publish(self.cloud.s3, self.cloud.bucket, self.cloud.ledger.get("s"), files, outcome=outcome)

    @property
    def manifest(self):
        return objects.read_manifest(self.cloud.s3, self.cloud.bucket, FOLDER)

    def token(self, n_failed=0):
        return client_token(self.manifest, DATA_STORE, n_failed)

    def asked(self, n_failed=0):
        """What HealthImaging is to be asked for."""
        bucket, token = self.imports, self.token(n_failed)
        return {
            "clientToken": token,
            "dataAccessRoleArn": ROLE,
            "datastoreId": DATA_STORE,
            "inputS3Uri": f"s3://{bucket}/input/s/{token}/",
            "jobName": "raki-s",
            "outputS3Uri": f"s3://{bucket}/output/s/{token}/",
        }

    def starts(self, job="j1", n_failed=0):
        answer = {"datastoreId": DATA_STORE, "jobId": job, "jobStatus": "SUBMITTED", "submittedAt": datetime.now(UTC)}
        self.healthimaging.add_response("start_dicom_import_job", answer, self.asked(n_failed))

    def refuses(self, code):
        self.healthimaging.add_client_error(
            "start_dicom_import_job", code, "not for a log", expected_params=self.asked()
        )

    def is_at(self, status, job="j1", *, ended_at=None, n_imported=None, **own):
        """What HealthImaging says of a job, and leaves in its output where it has ended."""
        places = {"inputS3Uri": f"s3://{self.imports}/i/", "outputS3Uri": f"s3://{self.imports}/o/"}
        facts = {"jobId": job, "jobName": "raki-s", "jobStatus": status, "datastoreId": DATA_STORE,
                 "dataAccessRoleArn": ROLE, **places, **own}  # fmt: skip
        if ended_at:
            facts["endedAt"] = ended_at
        self.healthimaging.add_response(
            "get_dicom_import_job", {"jobProperties": facts}, {"datastoreId": DATA_STORE, "jobId": job}
        )
        if n_imported is not None:
            key = f"output/s/{self.token()}/{DATA_STORE}-DicomImport-{job}/job-output-manifest.json"
            summary = {"jobSummary": {"numberOfImportedFiles": n_imported}}
            self.cloud.s3.put_object(Bucket=self.imports, Key=key, Body=json.dumps(summary))

    @property
    def imports(self):
        return f"{self.cloud.bucket}-imports"

    def staged(self):
        found = self.cloud.s3.list_objects_v2(Bucket=self.imports, Prefix="input/").get("Contents", [])
        return [entry["Key"] for entry in found]

    def tell(self, body=None, *, n_received=1, age=timedelta()):
        """Whether a message is done with."""
        sent_at_ms = int((datetime.now(UTC) - age).timestamp() * 1000)
        attributes = {"SentTimestamp": str(sent_at_ms), "ApproximateReceiveCount": str(n_received)}
        url = self.cloud.queue_url
        self.cloud.sqs.send_message(QueueUrl=url, MessageBody="held")
        (held,) = self.cloud.sqs.receive_message(QueueUrl=url)["Messages"]
        body = body or completion(self.cloud.bucket, f"{FOLDER}/manifest.json")
        told = {"messageId": "m", "body": body, "attributes": attributes, "receiptHandle": held["ReceiptHandle"]}
        return self.importer.see_to(told)

    def tell_that_it_ended(self, job="j1", name="raki-s", **own):
        detail = {"datastoreId": DATA_STORE, "jobId": job, "jobName": name, "jobStatus": "COMPLETED"}
        return self.tell(json.dumps({"source": "aws.medical-imaging", "detail": detail}), **own)

    def imported(self):
        return self.cloud.ledger.get("s").importing


@pytest.fixture
def site(cloud, tmp_path):
    cloud.s3.create_bucket(Bucket=f"{cloud.bucket}-imports")
    client = boto3.client("medical-imaging", region_name="us-east-1", config=Config(retries={"total_max_attempts": 1}))
    settings = ImportSettings(
        data_access_role_arn=ROLE,
        data_store_id=DATA_STORE,
        import_dead_letters_url=cloud.dead_letters_url,
        import_queue_url=cloud.queue_url,
        imports_bucket=f"{cloud.bucket}-imports",
        ledger_table=cloud.bucket,
        results_bucket=cloud.bucket,
    )
    dynamodb = cloud.ledger._table._client
    connected = {"s3": cloud.s3, "sqs": cloud.sqs, "dynamodb": dynamodb}
    deployment = Deployment(
        where="here",
        connect=connected.__getitem__,
        ledger_table=cloud.bucket,
        raw_bucket=cloud.bucket,
        results_bucket=cloud.bucket,
        ingest_queue_url="none",
        scan_id_key="key",
        log_groups=(),
        takes_identity_out=False,
        import_queue_url=cloud.dead_letters_url,
        data_store=DATA_STORE,
    )
    with Stubber(client) as healthimaging:
        importer = Importer(settings, Clients(**connected, healthimaging=client), jitter=Random(0))
        yield Site(cloud, tmp_path, importer, healthimaging, Operator(deployment))
        healthimaging.assert_no_pending_responses()


def test_a_result_is_imported_and_its_job_noted(site, written):
    site.reconstruct()
    site.starts()
    assert site.tell()
    prefix = f"input/s/{site.token()}"
    assert site.staged() == [f"{prefix}/image.dcm", f"{prefix}/snr.dcm"], "DICOM files, and nothing else"
    copied = site.cloud.s3.get_object(Bucket=site.imports, Key=f"{prefix}/image.dcm")["Body"].read()
    assert copied == b"image image.dcm"
    started = site.imported()
    assert (started.reached, started.to, started.job) == (Reached.STARTED, DATA_STORE, "j1")
    site.is_at("COMPLETED", n_imported=2)
    assert site.tell_that_it_ended()
    assert (site.imported().reached, site.imported().job) == (Reached.SENT, "j1")
    assert site.cloud.ledger.get("s").sending is None
    assert [value for value, _ in named(metrics_in(written.getvalue()), "Imported")] == [1]


def test_a_result_is_imported_once_however_often_it_is_announced(site):
    site.reconstruct()
    site.starts()
    assert site.tell()
    site.is_at("IN_PROGRESS")
    assert site.tell()
    assert site.imported().reached is Reached.STARTED
    site.is_at("COMPLETED", n_imported=2)
    assert site.tell(), "the event of its end was lost"
    assert site.imported().reached is Reached.SENT
    assert site.tell()
    assert site.tell_that_it_ended()


def test_a_start_that_was_not_noted_is_asked_for_by_the_same_token(site, monkeypatch):
    """HealthImaging answers it with the job that there is."""
    site.reconstruct()
    site.starts()
    with monkeypatch.context() as broken:
        broken.setattr(site.importer._sendings, "note", lambda *_: 1 / 0)
        assert not site.tell()
    site.starts()
    assert site.tell()
    assert site.imported().job == "j1"


def test_what_is_made_anew_is_imported_anew_under_another_token(site):
    site.reconstruct()
    site.starts()
    site.tell()
    first = site.token()
    later = datetime.now(UTC) + timedelta(hours=1)
    site.cloud.ledger.deliver("s")
    site.reconstruct(at=later, content="another image")
    assert site.token() != first
    assert site.imported() is None
    site.starts("j2")
    assert site.tell()
    assert site.imported().job == "j2"


def test_of_another_job_nothing_is_noted(site):
    site.reconstruct()
    site.starts()
    site.tell()
    assert site.tell_that_it_ended(name="another's")
    assert not site.tell_that_it_ended(job="j0"), "its start may not be noted yet"
    assert site.tell_that_it_ended(job="j0", age=timedelta(seconds=NOTED_WITHIN_S + 1))
    assert site.tell_that_it_ended(name="raki-nobody")
    assert site.imported().reached is Reached.STARTED


@pytest.mark.parametrize("code", ["ThrottlingException", "ServiceQuotaExceededException", "InternalServerException"])
def test_what_healthimaging_has_no_time_for_comes_again_and_is_no_failure(site, written, code):
    site.reconstruct()
    site.refuses(code)
    assert not site.tell()
    assert site.imported() is None
    assert not named(metrics_in(written.getvalue()), "ImportRetries")
    site.starts()
    assert site.tell()


def test_a_message_that_is_put_off_waits_longer_each_time(site, monkeypatch):
    waits = []
    monkeypatch.setattr(
        site.cloud.sqs, "change_message_visibility", lambda **told: waits.append(told["VisibilityTimeout"])
    )
    site.reconstruct()
    for n_received in (1, 3, 6):
        site.refuses("ThrottlingException")
        assert not site.tell(n_received=n_received)
    assert waits == sorted(set(waits))


def test_a_data_store_that_is_not_there_is_waited_for_and_said(site, written):
    site.reconstruct()
    site.refuses("ResourceNotFoundException")
    assert not site.tell()
    assert site.imported().reached is Reached.WAITS
    assert site.imported().reason == "HealthImaging starts no job: ResourceNotFoundException."
    assert [value for value, _ in named(metrics_in(written.getvalue()), "ImportRetries")] == [1]
    assert not site.cloud.dead_letters()
    site.refuses("ResourceNotFoundException")
    assert site.tell(age=GIVEN_UP_AFTER + timedelta(seconds=1))
    assert site.imported().reached is Reached.GIVEN_UP
    assert len(site.cloud.dead_letters()) == 1
    assert [value for value, _ in named(metrics_in(written.getvalue()), "ImportFailures")] == [1]


def test_a_job_that_failed_is_said_and_a_retry_is_another_job(site, written):
    site.reconstruct()
    site.starts()
    site.tell()
    site.is_at("FAILED", message="The role may not read Mustermann")
    assert site.tell_that_it_ended()
    assert site.imported().reached is Reached.GIVEN_UP
    assert "The import failed: The role may not read Mustermann" in site.imported().reason
    assert "Mustermann" not in written.getvalue()
    assert [value for value, _ in named(metrics_in(written.getvalue()), "ImportFailures")] == [1]
    site.operator.retry(site.cloud.ledger.get("s"))
    (body,) = site.cloud.dead_letters()
    site.starts("j2", n_failed=1)
    assert site.token(1) != site.token(0), "that of the first would be answered with the job that failed"
    assert site.tell(body)
    assert (site.imported().reached, site.imported().job) == (Reached.STARTED, "j2")


def test_a_job_that_left_images_out_has_failed_whatever_its_state_says(site):
    site.reconstruct()
    site.starts()
    site.tell()
    site.is_at("COMPLETED", n_imported=1)
    assert site.tell_that_it_ended()
    assert site.imported().reached is Reached.GIVEN_UP
    assert "imported 1 of 2 images" in site.imported().reason


def test_a_summary_is_waited_for_and_not_for_ever(site):
    site.reconstruct()
    site.starts()
    site.tell()
    now = datetime.now(UTC)
    site.is_at("COMPLETED", ended_at=now - timedelta(minutes=1))
    assert not site.tell_that_it_ended()
    assert site.imported().reached is Reached.STARTED
    site.is_at("COMPLETED", ended_at=now - timedelta(hours=2))
    assert site.tell_that_it_ended()
    assert "left no summary" in site.imported().reason


def test_what_was_imported_is_not_set_going_again(site):
    site.reconstruct()
    site.starts()
    site.tell()
    site.is_at("COMPLETED", n_imported=2)
    site.tell_that_it_ended()
    with pytest.raises(NotPossible, match="HealthImaging has its images since"):
        site.operator.retry(site.cloud.ledger.get("s"))


def test_a_result_that_was_replaced_or_failed_is_not_imported(site):
    site.reconstruct()
    site.publish(["image.dcm"], outcome="failed")
    assert site.tell()
    site.publish(["image.dcm"])
    newer = ScanArrived(bucket="raw", key="site/a.h5", etag="e2", version_id=None, n_bytes=5, at=datetime.now(UTC))
    arrive(site.cloud.ledger, "t", newer)
    assert site.tell()
    assert not site.staged()


def test_a_result_that_is_replaced_while_it_is_copied_is_not_imported(site, monkeypatch):
    def copy_and_replace(*told):
        staged(*told)
        newer = ScanArrived(bucket="raw", key="site/a.h5", etag="e2", version_id=None, n_bytes=5, at=datetime.now(UTC))
        arrive(site.cloud.ledger, "t", newer)

    staged = importing.stage_images
    monkeypatch.setattr("lambdas.import_results.stage_images", copy_and_replace)
    site.reconstruct()
    assert site.tell()
    assert site.imported() is None


def test_what_the_manifest_does_not_vouch_for_is_not_imported(site):
    site.reconstruct()
    site.cloud.s3.put_object(Bucket=site.cloud.bucket, Key=f"{FOLDER}/image.dcm", Body=b"of another run")
    assert not site.tell()
    site.cloud.s3.delete_object(Bucket=site.cloud.bucket, Key=f"{FOLDER}/image.dcm")
    assert not site.tell()
    assert not site.staged()
    assert site.imported() is None


def test_what_is_beyond_a_job_is_given_up_with_a_sentence_and_not_copied(site, monkeypatch, written):
    monkeypatch.setattr(importing, "MOST_FILES", 1)
    site.reconstruct()
    assert site.tell()
    assert not site.staged()
    assert site.imported().reached is Reached.GIVEN_UP
    assert site.imported().reason == "The result has 2 images, and a job of HealthImaging takes 1."
    assert [value for value, _ in named(metrics_in(written.getvalue()), "ImportFailures")] == [1]


@given(st.lists(st.integers(0, 2 * LARGEST_FILE), min_size=1, max_size=5))
def test_what_fits_a_job(sizes):
    manifest = {"files": [{"name": f"{n}.dcm", "n_bytes": size} for n, size in enumerate(sizes)]}
    assert (why_too_large(manifest) is None) == (max(sizes) <= LARGEST_FILE and sum(sizes) <= MOST_BYTES)
    many = {"files": [{"name": f"{n}.dcm", "n_bytes": 1} for n in range(MOST_FILES + 1)]}
    assert "5001 images" in why_too_large(many)


def test_a_message_that_says_nothing_is_buried(site):
    assert site.tell('{"detail": 7}')
    assert site.tell('{"source": "aws.medical-imaging", "detail": 7}')
    assert sorted(site.cloud.dead_letters()) == ['{"detail": 7}', '{"source": "aws.medical-imaging", "detail": 7}']
    with pytest.raises(NotUnderstood):
        ended("7")


def test_a_token_is_one_that_healthimaging_takes_and_differs_with_what_is_imported():
    manifest = {"scan_id": "s", "files": [{"name": "image.dcm", "sha256": "a"}]}
    tokens = {
        client_token(one, store, n)
        for one in (manifest, {**manifest, "scan_id": "t"}, {**manifest, "files": []})
        for store in (DATA_STORE, "another")
        for n in (0, 1)
    }
    assert len(tokens) == 12
    assert {len(token) for token in tokens} == {64}
