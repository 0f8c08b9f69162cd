"""A copy of the prepared scan is used where it is the object to the last byte, and never waited for."""

import pytest

from raki.service import handover

KEY = "scans/abc.h5"
CONTENT = b"prepared" * 1000


@pytest.fixture
def place(cloud, tmp_path):
    (tmp_path / "local.h5").write_bytes(CONTENT)
    handover.upload(cloud.s3, tmp_path / "local.h5", cloud.bucket, KEY)
    return cloud.s3, cloud.bucket, KEY


@pytest.fixture
def mirrored(tmp_path):
    file = tmp_path / "mirror" / KEY
    file.parent.mkdir(parents=True)
    return file


def find(place, tmp_path):
    return handover.find(*place, tmp_path / "mirror")


def test_a_copy_that_is_the_object_is_used_where_it_stands(place, mirrored, tmp_path):
    mirrored.write_bytes(CONTENT)
    assert find(place, tmp_path) == mirrored


def test_a_copy_that_has_not_come_yet_is_not_waited_for(place, tmp_path):
    assert find(place, tmp_path) is None


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:]])
def test_a_copy_that_is_short_or_of_an_earlier_attempt_is_never_used(place, mirrored, tmp_path, content):
    mirrored.write_bytes(content)
    assert find(place, tmp_path) is None


def test_a_copy_that_cannot_be_read_is_none(place, mirrored, tmp_path):
    mirrored.mkdir()
    assert find(place, tmp_path) is None


def test_an_object_without_a_digest_has_no_copy_that_could_be_trusted(cloud, mirrored, tmp_path):
    cloud.s3.put_object(Bucket=cloud.bucket, Key=KEY, Body=CONTENT)
    mirrored.write_bytes(CONTENT)
    assert find((cloud.s3, cloud.bucket, KEY), tmp_path) is None


def test_an_object_that_was_replaced_has_no_copy_until_that_is_replaced_too(place, mirrored, tmp_path):
    mirrored.write_bytes(CONTENT)
    (tmp_path / "local.h5").write_bytes(CONTENT[::-1])
    handover.upload(place[0], tmp_path / "local.h5", *place[1:])
    assert find(place, tmp_path) is None
    mirrored.write_bytes(CONTENT[::-1])
    assert find(place, tmp_path) == mirrored
