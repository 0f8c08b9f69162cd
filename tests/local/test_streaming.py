"""A streamed GetObject is moto's own answer, byte for byte and header for header."""

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from infra.local.moto import streaming
from infra.local.share.folder import TRANSFER

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


@pytest.mark.parametrize("n_bytes", [streaming.STREAMED_FROM_BYTES - 1, streaming.STREAMED_FROM_BYTES])
def test_on_either_side_of_where_streaming_begins(cloud, outputs, n_bytes):
    request = {"Bucket": outputs["Raw"], "Key": f"one part/{n_bytes}"}
    cloud.client("s3").put_object(Body=BODY[:n_bytes], **request)
    streamed, own = both(cloud, request)
    assert streamed == own
    assert streamed[0] == BODY[:n_bytes]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA256"])
@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_what_came_in_parts_is_read_as_a_whole(cloud, outputs, tmp_path, algorithm, beyond):
    # The client compares what it reads with the checksum that it is told, if that is one of the whole object.
    part = 5 << 20
    file = tmp_path / "scan"
    file.write_bytes((BODY + BODY)[: part + beyond])
    request = {"Bucket": outputs["Raw"], "Key": f"parts/{algorithm}{beyond}"}
    in_parts = TransferConfig(multipart_threshold=part, multipart_chunksize=part)
    s3 = cloud.client("s3")
    s3.upload_file(str(file), *request.values(), ExtraArgs={"ChecksumAlgorithm": algorithm}, Config=in_parts)
    streamed, own = both(cloud, request)
    assert streamed == own
    assert streamed[0] == file.read_bytes()
    headers = streamed[2]
    assert headers.get("x-amz-checksum-type", "").startswith(("COMPOSITE", "FULL_OBJECT") if beyond >= 0 else "")


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_files_of_the_share_on_either_side_of_an_upload_in_parts(cloud, outputs, tmp_path, beyond):
    n_bytes = TRANSFER.multipart_threshold + beyond
    file = tmp_path / "scan"
    with file.open("wb") as content:
        content.truncate(n_bytes)
    s3, key = cloud.client("s3"), f"share/{beyond}"
    s3.upload_file(str(file), outputs["Raw"], key, Config=TRANSFER)
    body = s3.get_object(Bucket=outputs["Raw"], Key=key)["Body"]
    assert sum(map(len, body.iter_chunks(1 << 20))) == n_bytes
    s3.delete_object(Bucket=outputs["Raw"], Key=key)
