"""A file on a share is told of once, when nobody has written to it for the settling time."""

import json

import pytest

from infra.local.share.uploads import UploadNotices
from tests.local.conftest import GATEWAY_ARN

ARN = "arn:aws:storagegateway:us-east-1:123456789012:share/share-12345678"


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def fired():
    return []


@pytest.fixture
def notices(fired, clock):
    return UploadNotices(fired.append, speed=10.0, clock=clock)


def share(policy):
    return {"GatewayARN": GATEWAY_ARN, "LocationARN": "arn:aws:s3:::raw/in", "NotificationPolicy": policy}


SETTLING = share('{"Upload": {"SettlingTimeInSeconds": 60}}')


def test_the_event_names_bucket_and_key(notices, fired, clock):
    notices.uploaded(ARN, SETTLING, "in/Größe 1.h5", 12)
    clock.now_s = 5.9
    notices.step()
    assert fired == []
    clock.now_s = 6.0
    notices.step()
    notices.step()
    (event,) = fired
    assert (event["source"], event["detail-type"]) == ("aws.storagegateway", "Storage Gateway Object Upload Event")
    assert event["resources"] == [ARN, GATEWAY_ARN, "arn:aws:s3:::raw"]
    detail = event["detail"]
    assert (detail["bucket-name"], detail["object-key"], detail["object-size"]) == ("raw", "in/Größe 1.h5", 12)
    assert {"event-time", "event-type", "set-id"} <= set(detail)
    assert json.loads(json.dumps(event)) == event


def test_a_file_that_is_written_again_settles_again(notices, fired, clock):
    notices.uploaded(ARN, SETTLING, "scan.h5", 1)
    clock.now_s = 5.0
    notices.uploaded(ARN, SETTLING, "scan.h5", 2)
    clock.now_s = 7.0
    notices.step()
    assert fired == []
    clock.now_s = 11.0
    notices.step()
    assert [event["detail"]["object-size"] for event in fired] == [2]


@pytest.mark.parametrize("policy", [None, "{}", '{"Other": {}}'])
def test_a_share_that_asks_for_no_notices_gets_none(notices, fired, clock, policy):
    notices.uploaded(ARN, share(policy), "scan.h5", 1)
    clock.now_s = 1e6
    notices.step()
    assert fired == []
