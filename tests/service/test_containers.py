"""One scan through the worker and the job, as their containers run them, against the server of these tests."""

import json

import pytest

from containers.decompress.__main__ import Worker
from containers.reconstruct.__main__ import Job
from raki.service.ledger import State
from raki.service.protection import Protection
from raki.service.settings import DecompressSettings, ReconstructSettings
from tests.embedded_metrics import metrics_in, named

KEY = "Mustermann/Max 1.h5"


@pytest.fixture
def site(cloud, raw, monkeypatch):
    """A scan in the raw bucket and its notification in the ingest queue; one bucket has all the roles."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.s3.meta.endpoint_url)
    etag = cloud.s3.put_object(Bucket=cloud.bucket, Key=KEY, Body=raw.read_bytes())["ETag"]
    s3 = {"bucket": {"name": cloud.bucket}, "object": {"key": "Mustermann/Max+1.h5", "eTag": etag}}
    record = {"eventTime": "2026-01-01T00:00:00.000Z", "s3": s3}
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody=json.dumps({"Records": [record]}))
    return cloud


@pytest.fixture
def reconstruct_queue(site):
    return site.sqs.create_queue(QueueName=f"{site.bucket}-reconstruct")["QueueUrl"]


@pytest.fixture
def worker(site, reconstruct_queue, agent):
    settings = DecompressSettings(
        deidentify=False,
        ingest_queue_url=site.queue_url,
        ledger_table=site.bucket,
        prepared_bucket=site.bucket,
        reconstruct_queue_url=reconstruct_queue,
        results_bucket=site.bucket,
        scan_id_key="key",
    )
    return Worker(settings, Protection(agent.uri))


@pytest.fixture
def prepared(site, worker, written):
    """The worker has done its part; gives the prepared scan's key."""
    worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    ((scan_id, state),) = [(scan.scan_id, scan.state) for scan in site.ledger.scans()]
    assert state is State.PREPARED
    return f"scans/{scan_id}.h5"


@pytest.fixture
def job(site, reconstruct_queue, tmp_path, monkeypatch, request):
    monkeypatch.setattr("containers.reconstruct.__main__.PATIENCE_S", 0)
    settings = ReconstructSettings(
        ledger_table=site.bucket,
        prepared_folder=getattr(request, "param", str(tmp_path / "fsx")),
        raw_bucket=site.bucket,
        reconstruct_queue_url=reconstruct_queue,
        results_bucket=site.bucket,
    )
    return Job(settings)


def state_of_the_scan(site):
    (scan,) = site.ledger.scans()
    return scan.state


@pytest.mark.parametrize("job", [None], indirect=True)
def test_a_scan_is_measured_on_its_way_and_leaves_no_name_behind(site, prepared, job, agent, raw, written):
    job.drain()
    assert state_of_the_scan(site) is State.RECONSTRUCTED
    assert [body["ProtectionEnabled"] for body in agent.asked] == [True, False], "the worker's; a job has none"
    found = metrics_in(written.getvalue())
    states = [dimensions["State"] for _, dimensions in named(found, "Entered")]
    assert states == ["arrived", "decompressing", "prepared", "reconstructing", "reconstructed"]
    assert named(found, "RawBytes") == [(raw.stat().st_size, {})]
    for name in ("StageSeconds", "WaitingSeconds", "BusySeconds"):
        stages = [dimensions["Stage"] for _, dimensions in named(found, name)]
        assert stages == ["decompressing", "reconstructing"]
    for name in ("Mustermann", "Max", "scans/", "manifest"):
        assert name not in written.getvalue()


def test_a_prepared_scan_is_read_where_it_is_mounted(site, prepared, job, tmp_path, monkeypatch):
    mirrored = tmp_path / "fsx" / prepared
    mirrored.parent.mkdir(parents=True)
    site.s3.download_file(site.bucket, prepared, str(mirrored))

    def download(*_):
        raise AssertionError("downloaded")

    monkeypatch.setattr(job._s3, "download_file", download)
    job.drain()
    assert state_of_the_scan(site) is State.RECONSTRUCTED


def test_a_prepared_scan_is_downloaded_where_another_one_stands(site, prepared, job, tmp_path):
    mirrored = tmp_path / "fsx" / prepared
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(bytes(site.s3.head_object(Bucket=site.bucket, Key=prepared)["ContentLength"]))
    job.drain()
    assert state_of_the_scan(site) is State.RECONSTRUCTED


def states_at(call, client, site):
    """The scan's state at each call of this client, which grows as they are made."""
    states = []
    client.meta.events.register(f"before-call.{call}", lambda **_: states.append(state_of_the_scan(site)))
    return states


def test_a_reconstruction_is_asked_for_before_the_scan_counts_as_prepared(site, worker):
    """A worker that is lost in between asks twice; the other way round nobody would ever ask."""
    asked = states_at("sqs.SendMessage", worker._sqs, site)
    worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    assert asked == [State.DECOMPRESSING]
    assert state_of_the_scan(site) is State.PREPARED


def test_a_scan_counts_as_reconstructed_and_its_sources_may_go_when_all_its_results_are_there(site, prepared, job):
    put, tagged = states_at("s3.PutObject", job._s3, site), []
    job._s3.meta.events.register(
        "before-call.s3.PutObjectTagging",
        lambda **_: tagged.append(site.s3.head_object(Bucket=site.bucket, Key="Mustermann/Max 1/manifest.json")),
    )
    job.drain()
    assert set(put) == {State.RECONSTRUCTING}
    assert state_of_the_scan(site) is State.RECONSTRUCTED
    assert len(tagged) == 2
    for key in (KEY, prepared):
        tags = site.s3.get_object_tagging(Bucket=site.bucket, Key=key)["TagSet"]
        assert tags == [{"Key": "raki", "Value": "reconstructed"}]
