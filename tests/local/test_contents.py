"""Objects of any size are kept once, on disk, and are what was sent, whichever way they came and are read."""

import base64
import hashlib
import random
import socket
import tracemalloc
import zlib
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from infra.local.moto import contents
from infra.local.moto.contents import Content, Place, Upload

PART = 5 << 20
"""The least that S3 takes as a part that isn't the last."""


def noise(n_bytes, of=0):
    return random.Random(of).randbytes(n_bytes)


def bytes_on_disk(folder):
    """Of all files that lie in the folder without a name: only this process knows of them."""
    found = {}
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if descriptor.readlink().is_relative_to(folder):
                status = descriptor.stat()
                found[status.st_ino] = status.st_size
        except OSError:
            continue
    return sum(found.values())


@seed(0)
@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    order=st.randoms(use_true_random=False),
    piece=st.integers(1, 12),
    begin=st.integers(0, 250),
)
def test_parts_that_come_in_any_order_are_read_in_theirs(tmp_path_factory, sizes, order, piece, begin):
    parts = [noise(size, of=number) for number, size in enumerate(sizes)]
    whole = b"".join(parts)
    upload = Upload(tmp_path_factory.getbasetemp())
    came = list(range(len(parts)))
    order.shuffle(came)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contents, "PIECE_BYTES", piece)
        stored = {number: upload.add([parts[number][:3], parts[number][3:]], len(parts[number])) for number in came}
        places = [place for number in range(len(parts)) for place in stored[number].places]
        with Content(stored[0].fileno(), places) as content:
            assert content.read() == whole
            content.seek(begin)
            some = content.read(7)
            assert whole[begin : begin + 7].startswith(some)
            assert some or begin >= len(whole)
            again = content.copy()
    with again:
        assert again.read() == whole  # it outlives the one that it was copied from
    assert [stored[number].read() for number in range(len(parts))] == parts


def test_a_place_beyond_the_end_is_empty(tmp_path):
    with Upload(tmp_path).add([b"abc"], 3) as part, Content(part.fileno(), [Place(1, 2)]) as content:
        assert content.at(2, 5) == b""
        assert content.at(0, 5) == b"bc"


def put_in_parts(s3, parts, order, request, **checksum):
    upload = s3.create_multipart_upload(**checksum, **request)["UploadId"]
    etags = {
        number: s3.upload_part(PartNumber=number, UploadId=upload, Body=parts[number - 1], **request)["ETag"]
        for number in order
    }
    listed = [{"PartNumber": number, "ETag": etags[number]} for number in sorted(etags)]
    s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": listed}, **request)


def test_an_object_of_parts_lies_on_disk_once_in_the_work_folder(cloud, outputs, work):
    s3, request = cloud.client("s3"), {"Bucket": outputs["Raw"], "Key": "parts.bin"}
    parts = [noise(PART, of=1), noise(PART, of=2), noise(17, of=3)]
    before = bytes_on_disk(work / "objects")
    put_in_parts(s3, parts, [3, 1, 2, 1], request)
    # The first part was sent twice, as after a lost answer: what it replaced stays till the object goes.
    assert bytes_on_disk(work / "objects") - before == sum(map(len, parts)) + PART
    assert s3.get_object(**request)["Body"].read() == b"".join(parts)
    assert list((work / "objects").iterdir()) == [], "a name that a kill would leave behind"


def test_moto_still_says_which_parts_make_an_object(cloud, outputs):
    s3, request = cloud.client("s3"), {"Bucket": outputs["Raw"], "Key": "refused.bin"}
    upload = s3.create_multipart_upload(**request)["UploadId"]
    places = [{"PartNumber": number, "UploadId": upload, **request} for number in (1, 2)]
    sent = [
        {"PartNumber": place["PartNumber"], "ETag": s3.upload_part(Body=b"small", **place)["ETag"]} for place in places
    ]
    for parts, code in (
        ([sent[0], sent[1]], "EntityTooSmall"),
        ([{**sent[0], "ETag": '"0"'}], "InvalidPart"),
        ([{**sent[0], "PartNumber": 7}], "InvalidPart"),
    ):
        with pytest.raises(ClientError, match=code):
            s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": parts}, **request)


def test_versions_of_an_object_of_parts_are_listed_without_reading_them(cloud, outputs, tmp_path):
    s3, file = cloud.client("s3"), tmp_path / "scan"
    file.write_bytes(noise(2 * PART))
    in_parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
    for _ in range(2):
        s3.upload_file(str(file), outputs["Raw"], "versions.bin", Config=in_parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Content, "readinto", lambda *_: pytest.fail("content was read"))
        versions = s3.list_object_versions(Bucket=outputs["Raw"], Prefix="versions.bin")["Versions"]
    assert [version["Size"] for version in versions] == [2 * PART] * 2
    assert s3.get_object(Bucket=outputs["Raw"], Key="versions.bin")["Body"].read() == file.read_bytes()


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")],
)
def test_the_checksum_of_an_object_of_parts_is_s3s(cloud, outputs, algorithm, kind):
    s3, parts = cloud.client("s3"), [noise(PART), b"the rest"]
    request = {"Bucket": outputs["Raw"], "Key": f"checksum/{algorithm}{kind}"}
    put_in_parts(s3, parts, [2, 1], request, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    found = s3.head_object(ChecksumMode="ENABLED", **request)[f"Checksum{algorithm}"]
    digests = {
        "CRC32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
        "SHA1": lambda body: hashlib.sha1(body, usedforsecurity=False).digest(),
        "SHA256": lambda body: hashlib.sha256(body).digest(),
    }
    digest = digests[algorithm]
    whole = b"".join(parts) if kind == "FULL_OBJECT" else b"".join(map(digest, parts))
    assert found.partition("-")[0] == base64.b64encode(digest(whole)).decode()
    assert s3.get_object(**request)["Body"].read() == b"".join(parts)  # which the client holds against the checksum


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_part_that_isnt_what_its_checksum_says_is_refused_by_name(cloud, outputs, algorithm):
    s3, request = cloud.client("s3"), {"Bucket": outputs["Raw"], "Key": "damaged.bin"}
    place = {"PartNumber": 1, "UploadId": s3.create_multipart_upload(**request)["UploadId"], **request}
    wrong = {f"Checksum{algorithm}": base64.b64encode(b"\1\2\3\4").decode()}
    with pytest.raises(ClientError, match=f"BadDigest.*the {algorithm} of what came is .*AQIDBA== was announced"):
        s3.upload_part(Body=b"abc", **wrong, **place)
    assert "Parts" not in s3.list_parts(UploadId=place["UploadId"], **request)


def test_a_part_whose_sender_leaves_is_none(cloud, outputs):
    s3, request = cloud.client("s3"), {"Bucket": outputs["Raw"], "Key": "half.bin"}
    place = {"PartNumber": 1, "UploadId": s3.create_multipart_upload(**request)["UploadId"], **request}
    url = urlsplit(s3.generate_presigned_url("upload_part", Params=place))
    with socket.create_connection((url.hostname, url.port)) as client:
        client.sendall(f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf".encode())
        client.shutdown(socket.SHUT_WR)
        client.recv(1000)
    assert "Parts" not in s3.list_parts(UploadId=place["UploadId"], **request)


def test_what_a_part_costs_in_memory_is_not_its_size(cloud, outputs):
    s3, request = cloud.client("s3"), {"Bucket": outputs["Raw"], "Key": "memory.bin"}
    place = {"PartNumber": 1, "UploadId": s3.create_multipart_upload(**request)["UploadId"], **request}
    n_bytes = 64 << 20
    body = bytes(n_bytes)
    tracemalloc.start()  # of all threads, the server's among them
    try:
        etag = s3.upload_part(Body=body, **place)["ETag"]
        listed = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
        s3.complete_multipart_upload(UploadId=place["UploadId"], MultipartUpload=listed, **request)
        read = sum(map(len, s3.get_object(**request)["Body"].iter_chunks(1 << 20)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == n_bytes
    assert peak < n_bytes / 4
