"""What an operator asks is answered by what the ledger, the buckets and the logs hold."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.stub import Stubber

from raki.errors import NoiseAlone, NotAScan
from raki.service import jobs
from raki.service.deployment import ADDRESS_FILE, Deployment, NoDeployment, find_deployment
from raki.service.ledger import Claim, State
from raki.service.messages import arrivals
from raki.service.operator import NotPossible, Operator, Refused, operating
from raki.service.scan_paths import NoSuchFolder, NoSuchScan
from raki.service.situation import count_states

KEY = "key"


@dataclass
class Desk:
    cloud: object
    operator: Operator
    logs: object

    def messages(self):
        found = self.cloud.sqs.receive_message(QueueUrl=self.cloud.queue_url, MaxNumberOfMessages=10)
        return [arrivals(message["Body"])[0].key for message in found.get("Messages", [])]

    def file(self, tmp_path, name="a.h5", content=b"scan"):
        path = tmp_path / name
        path.write_bytes(content)
        return path


@pytest.fixture
def desk(cloud):
    def connect(name):
        return boto3.client(name, endpoint_url=cloud.s3.meta.endpoint_url)

    deployment = Deployment(
        where="here",
        connect=connect,
        ledger_table=cloud.bucket,
        raw_bucket=cloud.bucket,
        results_bucket=cloud.bucket,
        ingest_queue_url=cloud.queue_url,
        scan_id_key=KEY,
        log_groups=(f"/{cloud.bucket}/one", f"/{cloud.bucket}/two", f"/{cloud.bucket}/none"),
        takes_identity_out=False,
    )
    return Desk(cloud, Operator(deployment), connect("logs"))


def test_a_submitted_file_is_called_as_the_worker_will_call_it(desk, tmp_path):
    submitted = desk.operator.submit(desk.file(tmp_path), "/site/")
    assert submitted.key == "site/a.h5"
    entered = desk.operator.find("site/a.h5", enters=True)
    assert entered.scan_id == submitted.scan_id
    with pytest.raises(NotPossible, match=r"'site/a\.h5' stands on the share already"):
        desk.operator.submit(desk.file(tmp_path), "site")
    desk.operator.submit(desk.file(tmp_path), "site", replace=True)
    assert desk.operator.submit(desk.file(tmp_path, "raki.toml"), "site").scan_id is None
    assert desk.operator.submit(desk.file(tmp_path, "b.hdr")).scan_id is None, "its .cfl isn't there yet"


def test_what_is_looked_at_is_not_entered(desk, tmp_path):
    desk.operator.submit(desk.file(tmp_path))
    with pytest.raises(NoSuchScan):
        desk.operator.find("a.h5")
    assert desk.operator.scans() == []


def test_a_file_that_nobody_has_taken_up_is_cancelled_before_anybody_does(desk, tmp_path):
    submitted = desk.operator.submit(desk.file(tmp_path))
    desk.operator.cancel(desk.operator.find("raw/a.h5", enters=True))
    ledger = desk.cloud.ledger
    assert ledger.claim(submitted.scan_id, State.DECOMPRESSING, owner="w", lease_s=30) is Claim.OVER
    assert ledger.get(submitted.scan_id).failure_class == "Cancelled"
    page = desk.cloud.s3.get_object(Bucket=desk.cloud.bucket, Key="a/error.html")["Body"].read()
    assert b"cancelled" in page
    assert desk.cloud.s3.get_object(Bucket=desk.cloud.bucket, Key="a.h5")["Body"].read() == b"scan"


def failed(desk, tmp_path, error):
    desk.operator.submit(desk.file(tmp_path))
    record = desk.operator.find("a.h5", enters=True)
    desk.cloud.ledger.fail(record.scan_id, error)
    return desk.cloud.ledger.get(record.scan_id)


def test_a_retry_announces_the_file_once(desk, tmp_path):
    record = failed(desk, tmp_path, NotAScan("It is a letter."))
    desk.operator.retry(record)
    assert desk.messages() == ["a.h5"]
    with pytest.raises(NotPossible, match="moved since"):
        desk.operator.retry(record)
    with pytest.raises(NotPossible, match="the scan is arrived; only a failed one"):
        desk.operator.retry(desk.operator.find("a.h5"))
    assert desk.messages() == []


def test_nothing_is_set_going_whose_file_is_gone_or_has_been_replaced(desk, tmp_path):
    record = failed(desk, tmp_path, NotAScan("It is a letter."))
    desk.cloud.s3.delete_object(Bucket=desk.cloud.bucket, Key="a.h5")
    with pytest.raises(NotPossible, match="stands there no more"):
        desk.operator.retry(record)
    desk.operator.submit(desk.file(tmp_path, content=b"another"))
    desk.operator._entered("a.h5")
    with pytest.raises(NotPossible, match="a newer version"):
        desk.operator.retry(record)
    assert desk.cloud.ledger.get(record.scan_id).state is State.FAILED
    assert record.scan_id in {each.scan_id for each in desk.operator.versions(record)}
    assert len(desk.operator.versions(record)) == 2


def test_a_scan_whose_manifest_is_being_written_is_left_alone(desk, tmp_path):
    desk.operator.submit(desk.file(tmp_path))
    record = desk.operator.find("a.h5", enters=True)
    desk.cloud.ledger.claim(record.scan_id, State.DECOMPRESSING, owner="w", lease_s=30)
    desk.cloud.ledger.seal(record.scan_id, owner="w")
    with pytest.raises(NotPossible, match="too late"):
        desk.operator.cancel(record)
    desk.cloud.ledger.fail(record.scan_id, NoiseAlone("noise"))
    with pytest.raises(NotPossible, match="the scan is failed already"):
        desk.operator.cancel(record)


def test_the_lines_of_a_scan_are_found_in_all_groups_and_in_their_order(desk, tmp_path):
    record = failed(desk, tmp_path, NotAScan("no"))
    at_ms = int(datetime.now(UTC).timestamp() * 1000)
    for group, lines in (
        ("one", [{"time": "2026-01-01T00:00:02", "event": "second", "scan_id": record.scan_id}, "no JSON"]),
        (
            "two",
            [
                {"time": "2026-01-01T00:00:01", "event": "first", "scan_id": record.scan_id},
                {"time": "2026-01-01T00:00:01", "event": f"of another, beside {record.scan_id}", "scan_id": "other"},
            ],
        ),
    ):
        name = f"/{desk.cloud.bucket}/{group}"
        desk.logs.create_log_group(logGroupName=name)
        desk.logs.create_log_stream(logGroupName=name, logStreamName="s")
        events = [{"timestamp": at_ms, "message": json.dumps(line)} for line in lines]
        desk.logs.put_log_events(logGroupName=name, logStreamName="s", logEvents=events)
    assert [line["event"] for line in desk.operator.log_lines(record)] == ["first", "second"]


def test_scans_by_state_and_folder_the_newest_first(desk, tmp_path):
    for name in ("b.h5", "a.h5", "c.h5"):
        desk.operator.submit(desk.file(tmp_path, name), "site" if name != "c.h5" else "")
        desk.operator.find(f"site/{name}" if name != "c.h5" else name, enters=True)
    desk.cloud.ledger.fail(desk.operator.find("c.h5").scan_id, NotAScan("no"))
    scans = desk.operator.scans()
    arrived = [scan.entered_at[State.ARRIVED] for scan in scans]
    assert arrived == sorted(arrived, reverse=True)
    assert count_states(scans) == {State.ARRIVED: 2, State.FAILED: 1}
    assert [scan.raw_key for scan in desk.operator.scans(states=[State.FAILED])] == ["c.h5"]
    assert {scan.raw_key for scan in desk.operator.scans(prefix="/site/")} == {"site/a.h5", "site/b.h5"}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            ClientError({"Error": {"Code": "AccessDeniedException", "Message": "not authorized to"}}, "Scan"),
            "AWS refuses Scan: AccessDeniedException: not authorized to",
        ),
        (EndpointConnectionError(endpoint_url="https://x"), "AWS can't be reached"),
    ],
)
def test_what_aws_refuses_is_a_sentence(desk, error, sentence):
    with pytest.raises(Refused, match=sentence), operating(desk.operator.deployment):
        raise error


def test_where_no_local_cloud_runs_any_more_is_said_and_nothing_else_taken_for_it(tmp_path):
    with pytest.raises(NoDeployment, match="no local cloud runs in"):
        find_deployment(local=tmp_path, folder=tmp_path)
    work = tmp_path / ".raki-local"
    work.mkdir()
    address = {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1", "aws_access_key_id": "a"}
    (work / ADDRESS_FILE).write_text(json.dumps({**address, "aws_secret_access_key": "b", "share": "share"}))
    with pytest.raises(NoDeployment, match="doesn't answer"):
        find_deployment(folder=tmp_path)


def reconstructing(desk, tmp_path, job_id="job-1", lease_s=30):
    """A scan that a job has in hand."""
    desk.operator.submit(desk.file(tmp_path))
    scan_id = desk.operator.find("a.h5", enters=True).scan_id
    ledger = desk.cloud.ledger
    ledger.claim(scan_id, State.DECOMPRESSING, owner="w", lease_s=30)
    ledger.finish(scan_id, State.PREPARED, owner="w")
    seen = ledger.get(scan_id)
    ledger.claim(scan_id, State.RECONSTRUCTING, owner=f"{job_id}-0a1b2c3d", lease_s=lease_s)
    return seen


@pytest.fixture
def batch(desk, monkeypatch):
    """AWS Batch as its model describes it; answers are what a test queues."""
    client = boto3.client("batch", region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x")
    operator, connect = desk.operator, desk.operator._client
    monkeypatch.setattr(operator, "_client", lambda name: client if name == "batch" else connect(name))
    monkeypatch.setattr(jobs, "LOOK_S", 0.0)
    with Stubber(client) as stubbed:
        yield stubbed


def described(status):
    job = {"jobId": "job-1", "jobName": "x", "jobQueue": "q", "status": status, "startedAt": 1, "jobDefinition": "d"}
    return {"jobs": [job]}


def page_of(desk, name="a"):
    return desk.cloud.s3.get_object(Bucket=desk.cloud.bucket, Key=f"{name}/error.html")["Body"].read()


def test_cancel_now_ends_the_job_that_has_the_scan_and_tells_when_that_has_ended(desk, batch, tmp_path):
    seen = reconstructing(desk, tmp_path)
    batch.add_response("describe_jobs", described("RUNNING"), {"jobs": ["job-1"]})
    batch.add_response("terminate_job", {}, {"jobId": "job-1", "reason": "raki cancel --now"})
    for status in ("RUNNING", "FAILED"):
        batch.add_response("describe_jobs", described(status), {"jobs": ["job-1"]})
    # `seen` is from before the job took it up: who has it now counts.
    assert desk.operator.cancel(seen, now=True) == "job-1"
    batch.assert_no_pending_responses()
    assert desk.cloud.ledger.get(seen.scan_id).failure_class == "Cancelled"
    assert b"This scan was cancelled" in page_of(desk)


@pytest.mark.parametrize("moment", ["waits", "given back", "lease ran out", "job has ended", "no job"])
def test_cancel_now_ends_no_job_that_has_other_scans_in_hand(desk, batch, tmp_path, moment):
    seen = reconstructing(desk, tmp_path, lease_s=-5 if moment == "lease ran out" else 30)
    ledger, owner = desk.cloud.ledger, "job-1-0a1b2c3d"
    if moment == "given back":
        ledger.release(seen.scan_id, State.RECONSTRUCTING, owner=owner, counts=True, after_s=60)
    elif moment == "job has ended":
        batch.add_response("describe_jobs", described("SUCCEEDED"), {"jobs": ["job-1"]})
    elif moment == "no job":
        batch.add_response("describe_jobs", {"jobs": []}, {"jobs": ["job-1"]})
    elif moment == "waits":
        ledger.take_in_hand(ledger.get(seen.scan_id), starts_over=True)
    assert desk.operator.cancel(seen, now=True) is None
    batch.assert_no_pending_responses()
    assert ledger.get(seen.scan_id).failure_class == "Cancelled"


def test_cancel_now_that_batch_refuses_is_a_cancel_all_the_same(desk, batch, tmp_path):
    seen = reconstructing(desk, tmp_path)
    batch.add_client_error("describe_jobs", "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDenied"):
        desk.operator.cancel(seen, now=True)
    assert desk.cloud.ledger.get(seen.scan_id).failure_class == "Cancelled"
    assert b"This scan was cancelled" in page_of(desk)


def test_of_a_scan_that_the_ledger_has_lost_nothing_is_cancelled_and_that_is_said(desk, tmp_path):
    desk.operator.submit(desk.file(tmp_path))
    record = desk.operator.find("a.h5", enters=True)
    table = desk.cloud.ledger._table
    table._client.delete_item(TableName=table._name, Key={"scan_id": {"S": record.scan_id}})
    with pytest.raises(NotPossible, match="knows this scan no more"):
        desk.operator.cancel(record)
    with pytest.raises(NotPossible, match="only a failed one"):
        desk.operator.retry(record)
    with pytest.raises(NoSuchScan):
        desk.operator.find("a.h5")


def test_what_has_its_result_is_made_anew_where_that_is_asked_for_and_only_there(desk, tmp_path):
    record = failed(desk, tmp_path, NotAScan("It is a letter."))
    ledger = desk.cloud.ledger
    desk.operator.retry(record)
    for stage, done in ((State.DECOMPRESSING, State.PREPARED), (State.RECONSTRUCTING, State.RECONSTRUCTED)):
        ledger.claim(record.scan_id, stage, owner="w", lease_s=30)
        ledger.finish(record.scan_id, done, owner="w")
    ledger.deliver(record.scan_id)
    seen = ledger.get(record.scan_id)
    with pytest.raises(NotPossible, match="with --anew one that has its result"):
        desk.operator.retry(seen)
    desk.operator.retry(seen, anew=True)
    again = ledger.get(record.scan_id)
    assert (again.state, again.attempts[State.DECOMPRESSING]) == (State.ARRIVED, 0)
    with pytest.raises(NotPossible, match="the scan is arrived"):
        desk.operator.retry(again, anew=True)


def test_a_version_that_no_longer_stands_there_is_not_set_going_though_nobody_has_seen_the_next(desk, tmp_path):
    record = failed(desk, tmp_path, NotAScan("It is a letter."))
    desk.operator.submit(desk.file(tmp_path, "a_noise.h5", b"noise"))
    with pytest.raises(NotPossible, match="another version of the file, or of what belongs to it"):
        desk.operator.retry(record)
    assert desk.cloud.ledger.get(record.scan_id).state is State.FAILED


@pytest.mark.parametrize(
    "folder", ["..", "a/../b", "a//b", "./a", "a\\b", "a\x1b[31mb", "a\nb", ".hidden", "a/$RECYCLE.BIN", "\udcfc"]
)
def test_nothing_is_submitted_where_no_share_has_a_folder_or_nobody_looks(desk, tmp_path, folder):
    with pytest.raises(NoSuchFolder):
        desk.operator.submit(desk.file(tmp_path), folder)
    assert "Contents" not in desk.cloud.s3.list_objects_v2(Bucket=desk.cloud.bucket)
