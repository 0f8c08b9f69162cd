"""The Storage Gateway's limits, and what a refresh does to the share."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.journal import Journal
from infra.local.share.gateway import InvalidGatewayRequest, StorageGateway
from infra.local.share.uploads import UploadNotices
from tests.local.conftest import GATEWAY_ARN, SPEED, eventually

ROLE = "arn:aws:iam::123456789012:role/share"


class SlowBucket:
    """An S3 client whose listing ends when the test says so."""

    def __init__(self) -> None:
        self.go_on = threading.Event()

    def get_paginator(self, _name: str) -> "SlowBucket":
        return self

    def paginate(self, **_arguments: str) -> list[dict]:
        assert self.go_on.wait(5.0)
        return []


@pytest.fixture
def bucket():
    return SlowBucket()


def make_gateway(tmp_path, bucket, *, spacing_s=0.0, fire=lambda _event: None) -> tuple[StorageGateway, str]:
    journal = Journal(tmp_path / "events.log", lambda _event: None)
    uploads = UploadNotices(fire, speed=1.0)
    gateway = StorageGateway(
        tmp_path / "share", lambda _service: bucket, fire, journal, spacing_s=spacing_s, uploads=uploads
    )
    asked = {"GatewayARN": GATEWAY_ARN, "LocationARN": "arn:aws:s3:::results", "Role": ROLE, "ClientToken": "token"}
    return gateway, gateway.answer("CreateNFSFileShare", {**asked, "FileShareName": "results"})["FileShareARN"]


def test_no_more_than_two_refreshes_at_a_time(tmp_path, bucket):
    gateway, arn = make_gateway(tmp_path, bucket)
    for _ in range(2):
        gateway.answer("RefreshCache", {"FileShareARN": arn})
    with pytest.raises(InvalidGatewayRequest, match="in progress"):
        gateway.answer("RefreshCache", {"FileShareARN": arn})
    bucket.go_on.set()

    def accepted():
        try:
            return gateway.answer("RefreshCache", {"FileShareARN": arn})
        except InvalidGatewayRequest:
            return None

    assert eventually(accepted)["FileShareARN"] == arn


def test_refreshes_keep_their_distance(tmp_path, bucket):
    bucket.go_on.set()
    gateway, arn = make_gateway(tmp_path, bucket, spacing_s=1000.0)
    gateway.answer("RefreshCache", {"FileShareARN": arn})
    with pytest.raises(InvalidGatewayRequest, match=r"1000\.0 s are needed"):
        gateway.answer("RefreshCache", {"FileShareARN": arn})


def test_a_refused_call_costs_nothing(tmp_path, bucket):
    bucket.go_on.set()
    gateway, arn = make_gateway(tmp_path, bucket, spacing_s=1000.0)
    with pytest.raises(InvalidGatewayRequest, match="ends in '/'"):
        gateway.answer("RefreshCache", {"FileShareARN": arn, "FolderList": ["scans/"]})
    assert gateway.answer("RefreshCache", {"FileShareARN": arn})["NotificationId"]


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 120))
def test_one_to_fifty_folders(tmp_path_factory, n_folders):
    bucket = SlowBucket()
    bucket.go_on.set()
    gateway, arn = make_gateway(tmp_path_factory.mktemp("gateway"), bucket)
    request = {"FileShareARN": arn, "FolderList": [f"/folder {number}" for number in range(n_folders)]}
    if 1 <= n_folders <= 50:
        assert gateway.answer("RefreshCache", request)["FileShareARN"] == arn
    else:
        with pytest.raises(InvalidGatewayRequest, match="1 to 50"):
            gateway.answer("RefreshCache", request)


def test_the_end_of_a_refresh_is_an_event_with_its_notification_id(tmp_path, bucket):
    fired = []
    gateway, arn = make_gateway(tmp_path, bucket, fire=fired.append)
    notification_id = gateway.answer("RefreshCache", {"FileShareARN": arn})["NotificationId"]
    assert fired == []
    bucket.go_on.set()
    (event,) = eventually(lambda: fired)
    assert event["source"] == "aws.storagegateway"
    assert event["detail-type"] == "Storage Gateway Refresh Cache Event"
    assert event["detail"]["notification-id"] == notification_id


def test_the_client_gets_typed_errors_and_sees_its_shares(cloud, outputs):
    client = cloud.client("storagegateway")
    unknown = "arn:aws:storagegateway:us-east-1:123456789012:share/share-00000000"
    with pytest.raises(client.exceptions.InvalidGatewayRequestException, match="not found"):
        client.refresh_cache(FileShareARN=unknown)
    listed = client.list_file_shares(GatewayARN=GATEWAY_ARN)["FileShareInfoList"]
    assert outputs["ResultsShare"] in {share["FileShareARN"] for share in listed}
    (described,) = client.describe_nfs_file_shares(FileShareARNList=[outputs["ResultsShare"]])["NFSFileShareInfoList"]
    assert described["LocationARN"] == f"arn:aws:s3:::{outputs['Results']}"
    assert described["ReadOnly"] is True


def refresh(cloud, outputs, *folders, recursive=True):
    """Once the gateway takes it: other tests refresh as well."""
    client = cloud.client("storagegateway")

    def accepted():
        try:
            return client.refresh_cache(
                FileShareARN=outputs["ResultsShare"], FolderList=list(folders), Recursive=recursive
            )
        except client.exceptions.InvalidGatewayRequestException:
            return None

    assert eventually(accepted, within_s=3 * 60 / SPEED + 2)


def test_results_appear_by_a_refresh_only(cloud, outputs, share):
    s3, results = cloud.client("s3"), share / "results"
    for key in ("exam 1/Größe/image.nii", "exam 1/report.html", "exam 2/image.nii"):
        s3.put_object(Bucket=outputs["Results"], Key=key, Body=key.encode())
    assert not (results / "exam 1").exists()

    refresh(cloud, outputs, "/exam 1")
    refresh(cloud, outputs, "/", recursive=False)
    assert not (results / "exam 1").exists(), "a gateway doesn't look into a folder that it hasn't listed"

    refresh(cloud, outputs, "/exam 1", recursive=False)
    eventually((results / "exam 1/report.html").exists)
    assert not (results / "exam 1/Größe").exists(), "not recursive is direct children only"

    refresh(cloud, outputs, "exam 1")
    deep = results / "exam 1/Größe/image.nii"
    eventually(lambda: deep.exists() and deep.read_text() == "exam 1/Größe/image.nii")
    assert not (results / "exam 2").exists(), "a folder that wasn't asked for stays as it was"

    s3.put_object(Bucket=outputs["Results"], Key="exam 1/report.html", Body=b"changed")
    s3.delete_object(Bucket=outputs["Results"], Key="exam 1/Größe/image.nii")
    refresh(cloud, outputs, "/exam 1")
    eventually(lambda: (results / "exam 1/report.html").read_bytes() == b"changed")
    eventually(lambda: not (results / "exam 1/Größe").exists())
    assert [path for path in results.rglob("*") if path.name.startswith(".")] == []
