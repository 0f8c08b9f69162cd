"""Of a file's versions the one that stands in the bucket is reconstructed, in whatever order news of them comes."""

import json
from random import Random

import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from raki.service.ledger import State
from tests.service.whole_way import WholeWay

A, B = b"version A", b"version B"


@pytest.fixture
def way(monkeypatch):
    with mock_aws():
        yield WholeWay(monkeypatch)


def check_ends(way, content):
    """The standing version's image is in the folder, and every scan has its one end."""
    assert way.shown()["image"] == content
    standing = json.loads(way.shown()["manifest.json"])["scan_id"]
    ends = {record.scan_id: (record.state, record.failure_class) for record in way.scans()}
    assert ends[standing] == (State.DELIVERED, None)
    assert set(ends.values()) <= {(State.DELIVERED, None), (State.FAILED, "Superseded")}
    assert way.n_messages() == 0


def test_of_two_versions_in_the_same_moment_the_one_that_stands_comes_through(way):
    way.announce(way.drop(A))
    way.announce(way.drop(B))
    way.finish()
    check_ends(way, B)
    assert len(way.scans()) == 1, "the first was gone before anybody looked"


def test_a_version_that_is_replaced_while_it_is_opened_is_followed_by_its_successor(way):
    way.announce(way.drop(A))
    worker = way.worker()
    replaced = []

    def replace_once(**_):
        if not replaced:
            replaced.append(way.drop(B))  # whose own notification is late

    worker._s3.meta.events.register("before-call.s3.GetObject", replace_once)
    way.decompress(worker)
    way.finish()
    check_ends(way, B)
    way.announce(replaced[0])
    way.finish()
    check_ends(way, B)
    assert sorted(record.state for record in way.scans()) == [State.DELIVERED, State.FAILED]


def test_a_b_a_while_the_notices_queue_ends_with_the_first_versions_image(way):
    for content in (A, B, A):
        way.announce(way.drop(content))
    way.finish()
    check_ends(way, A)


@pytest.mark.parametrize("delivered", [False, True])
def test_a_b_a_one_after_the_other_ends_with_the_first_versions_image(way, delivered):
    for content in (A, B, A):
        way.announce(way.drop(content))
        way.decompress()
        way.reconstruct()
        if delivered:
            way.refresh()
        assert way.shown()["image"] == content
    way.finish()
    check_ends(way, A)


def test_a_file_that_is_removed_before_anybody_looks_is_no_scan_and_one_removed_later_has_an_end(way):
    way.announce(way.drop(A))
    way.s3.delete_object(Bucket=way.raw, Key="site/a.h5")
    way.finish()
    assert way.scans() == []
    assert way.n_messages() == 0

    way.announce(way.drop(B, key="site/b.h5"))
    worker = way.worker()
    version = way.s3.head_object(Bucket=way.raw, Key="site/b.h5")["VersionId"]

    def remove(**_):
        way.s3.delete_object(Bucket=way.raw, Key="site/b.h5", VersionId=version)
        # Said for moto, which within one process has no answer to a conditional request for what isn't there.
        raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")

    worker._s3.meta.events.register("before-call.s3.GetObject", remove)
    way.decompress(worker)
    (scan,) = way.scans()
    assert (scan.state, scan.failure_class) == (State.FAILED, "Removed")
    assert way.n_messages() == 0


@pytest.mark.parametrize("seed", range(16))
def test_in_whatever_order_versions_news_and_work_come_the_last_version_stands(way, seed):
    chance = Random(seed)
    versions = chance.choice([[A, B], [A, B, A], [A, B, A, B], [A, A, B], [A, B, B, A]])
    steps = [way.decompress, way.reconstruct, way.refresh]
    pending, left = [], list(versions)
    while left or pending:
        step = chance.randrange(5)
        if step == 0 and left:
            pending.append(way.drop(left.pop(0)))
        elif step == 1 and pending:
            notice = pending.pop(chance.randrange(len(pending)))  # they come in no order
            way.announce(notice)
            if chance.random() < 0.3:
                way.announce(notice)
        elif step >= 2:
            chance.choice(steps)()
    way.finish()
    check_ends(way, versions[-1])
