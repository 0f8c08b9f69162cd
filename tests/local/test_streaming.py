"""A streamed GetObject is moto's own answer, byte for byte and header for header."""

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from infra.local import streaming

N_BYTES = (5 << 20) + 321
BODY = bytes(range(256)) * (N_BYTES // 256) + bytes(N_BYTES % 256)


@pytest.fixture(scope="module")
def stored(cloud, outputs):
    s3 = cloud.client("s3")
    version = s3.put_object(
        Bucket=outputs["Raw"], Key="large/größe 1.bin", Body=BODY, ContentType="a/b", Metadata={"is": "kept"}
    )["VersionId"]
    s3.put_object(Bucket=outputs["Raw"], Key="large/größe 1.bin", Body=BODY[::-1])
    return {"Bucket": outputs["Raw"], "Key": "large/größe 1.bin", "VersionId": version}


def answer(cloud, request):
    """Everything that a caller sees, without what differs from call to call."""
    try:
        found = cloud.client("s3").get_object(**request)
    except ClientError as error:
        return error.response["Error"], error.response["ResponseMetadata"]["HTTPStatusCode"]
    headers = dict(found["ResponseMetadata"]["HTTPHeaders"])
    for name in ("date", "x-amzn-requestid"):
        headers.pop(name, None)
    return found["Body"].read(), found["ResponseMetadata"]["HTTPStatusCode"], headers


def both(cloud, request):
    streamed = answer(cloud, request)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "STREAMED_FROM_BYTES", 1 << 60)
        return streamed, answer(cloud, request)


positions = st.integers(0, N_BYTES + 1000)


@seed(0)
@settings(max_examples=8, deadline=None)
@given(first=positions, last=positions | st.none())
def test_any_range(cloud, stored, first, last):
    byte_range = f"bytes={first}-{'' if last is None else last}"
    streamed, own = both(cloud, stored | {"Range": byte_range})
    assert streamed == own
    if first < N_BYTES and (last is None or last >= first):
        assert streamed[0] == BODY[first : None if last is None else last + 1]


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"Range": "bytes=-100"},
        {"IfMatch": '"no such thing"'},
        {"IfNoneMatch": '"no such thing"'},
        {"VersionId": "no such version"},
        {"Key": "no such key"},
    ],
)
def test_whole_conditions_and_errors(cloud, stored, extra):
    streamed, own = both(cloud, stored | extra)
    assert streamed == own


def test_the_newest_version_is_what_a_plain_get_returns(cloud, stored):
    newest = cloud.client("s3").get_object(Bucket=stored["Bucket"], Key=stored["Key"])["Body"].read()
    assert newest == BODY[::-1]
