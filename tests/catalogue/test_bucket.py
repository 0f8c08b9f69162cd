"""A bucket's catalogue is read, compacted and labelled as a folder's is, and read again only where it changed."""

import itertools
import json
from datetime import timedelta

import boto3
import pytest
from moto import mock_aws

import raki.catalogue
from raki.catalogue import NoCatalogue, compact, compaction, import_labels, stream
from raki.errors import TransientError
from raki.service import mirrored
from tests.catalogue.delivered import deliver

PLACE = "s3://a-results/site"


@pytest.fixture
def s3(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="a-results")
        yield client


def upload(s3, tmp_path, name, **arguments):
    folder = deliver(tmp_path / "made", name, **arguments)
    for file in folder.iterdir():
        s3.upload_file(str(file), "a-results", f"site/{name}/{file.name}")


def keys(s3):
    return [each["Key"] for each in s3.list_objects_v2(Bucket="a-results", Prefix="site/raki-catalogue/")["Contents"]]


def ids():
    with raki.catalogue.open(PLACE) as opened:
        return opened.query("SELECT scan_id, count(*) AS n FROM slices GROUP BY ALL ORDER BY ALL").to_pylist()


def test_a_bucket_is_a_folder(s3, tmp_path, monkeypatch):
    for number in range(3):
        upload(s3, tmp_path, f"scan{number}", scan_id=f"scan-{number}", seed=number, with_images=True)
    three = [{"scan_id": f"scan-{number}", "n": 3} for number in range(3)]
    assert ids() == three
    assert compact(PLACE).n_results == 3
    first = keys(s3)
    assert len(first) == 2
    assert ids() == three

    (tmp_path / "labels.csv").write_text("scan_id,label\nscan-1,motion\n")
    assert import_labels(PLACE, tmp_path / "labels.csv", made_by="ada").n_new == 1
    upload(s3, tmp_path, "scan2", scan_id="scan-9", seed=9, with_images=True, created_utc="2031-01-01T00:00:00+00:00")
    with monkeypatch.context() as patch:

        def meanwhile(root, **arguments):
            s3.put_object(
                Bucket="a-results", Key="site/raki-catalogue/labels/month=2026-01/of-another.parquet", Body=b""
            )
            return in_a_folder(root, **arguments)

        in_a_folder = compaction.compact_folder
        patch.setattr(compaction, "compact_folder", meanwhile)
        assert compact(PLACE).n_gone == 1
    assert [row["scan_id"] for row in ids()] == ["scan-0", "scan-1", "scan-9"]
    assert any(key.endswith("of-another.parquet") for key in keys(s3)), "what others wrote stays"
    assert len([key for key in keys(s3) if "/slices/" in key]) == 2, "and what compaction replaced goes"

    with raki.catalogue.open(PLACE) as opened:
        cohort = opened.cohort(label="motion")
    images = stream(cohort, PLACE, local=tmp_path / "local", seed=None)
    assert [(image["scan_id"], image["number"], image["labels"]) for image in images] == [
        ("scan-1", number, ["motion=true"]) for number in range(3)
    ]
    assert (images.n_fetched, images.damaged) == (1, {})

    fetched = []
    monkeypatch.setattr("boto3.s3.inject.download_file", lambda *_, Key=None, **__: fetched.append(Key))  # noqa: N803
    ids()
    assert fetched == [], "nothing has changed"


def test_a_pass_makes_one_client_however_many_files_it_fetches(s3, tmp_path, monkeypatch):
    for number in range(3):
        upload(s3, tmp_path, f"scan{number}", scan_id=f"scan-{number}", seed=number, with_images=True)
    with raki.catalogue.open(PLACE) as opened:
        images = stream(opened.cohort(), PLACE, local=tmp_path / "local")
    clients, make = [], boto3.client
    monkeypatch.setattr(boto3, "client", lambda *arguments: clients.append(arguments) or make(*arguments))
    assert len(list(images)) == 9
    assert (images.n_fetched, len(clients)) == (3, 1)


def test_rows_of_one_size_that_follow_within_a_second_are_others(s3, tmp_path):
    key = "site/scan0/catalogue.jsonl"
    upload(s3, tmp_path, "scan0", scan_id="scan-0")

    def put(scan_id):
        file = deliver(tmp_path / "made", "scan0", scan_id=scan_id) / "catalogue.jsonl"
        s3.upload_file(str(file), "a-results", key)
        return (head := s3.head_object(Bucket="a-results", Key=key))["LastModified"], head["ContentLength"]

    for _ in range(10):
        first = put("scan-1")
        assert [row["scan_id"] for row in ids()] == ["scan-1"]
        second = put("scan-2")
        assert [row["scan_id"] for row in ids()] == ["scan-2"]
        if first == second:
            return
    pytest.fail("no two within one second")


def test_an_object_that_is_gone_or_out_of_place_is_passed_over(s3, tmp_path):
    for number in range(2):
        upload(s3, tmp_path, f"scan{number}", scan_id=f"scan-{number}")
    s3.put_object(Bucket="a-results", Key="site/../../x/catalogue.jsonl", Body=b"{}\n")
    assert len(ids()) == 2
    s3.delete_object(Bucket="a-results", Key="site/scan0/catalogue.jsonl")
    assert [row["scan_id"] for row in ids()] == ["scan-1"]
    assert not (tmp_path / "x").exists()


def test_a_bucket_that_is_not_there_is_said(s3):
    with pytest.raises(NoCatalogue, match="a-missing"):
        raki.catalogue.open("s3://a-missing")
    with pytest.raises(NoCatalogue, match="names no bucket"):
        raki.catalogue.open("s3://")


def parts(s3):
    return {key for key in keys(s3) if "/slices/" in key}


def named(s3):
    index = json.loads(s3.get_object(Bucket="a-results", Key="site/raki-catalogue/index.json")["Body"].read())
    return {f"site/raki-catalogue/{part}" for part in index["parts"]}


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Does something as on another machine, whose copy of the bucket is its own."""

    def done(what):
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
            return what(PLACE)

    return done


def before(monkeypatch, name, what, *, times=1):
    """Has something done just before the bucket is asked to do this, so many times."""
    as_ever, left = getattr(mirrored, name), [times]

    def later(*arguments, **named):
        if left[0]:
            left[0] -= 1
            what()
        return as_ever(*arguments, **named)

    monkeypatch.setattr(mirrored, name, later)


@pytest.fixture
def no_wait(monkeypatch):
    monkeypatch.setattr(compaction, "LONGEST_WAIT_S", 0)
    monkeypatch.setattr(compaction, "TRIES", 3)


@pytest.mark.parametrize("is_first", [True, False], ids=["no index yet", "an index"])
def test_of_two_compactions_the_second_begins_again_and_loses_nothing(
    s3, tmp_path, monkeypatch, elsewhere, no_wait, is_first
):
    upload(s3, tmp_path, "scan0", scan_id="scan-0")
    if not is_first:
        compact(PLACE)
        upload(s3, tmp_path, "scan1", scan_id="scan-1")

    def another():
        upload(s3, tmp_path, "scan2", scan_id="scan-2")
        elsewhere(compact)

    before(monkeypatch, "replace", another)
    compact(PLACE)
    expected = [f"scan-{number}" for number in ((0, 2) if is_first else (0, 1, 2))]
    assert [row["scan_id"] for row in ids()] == expected
    assert [row["scan_id"] for row in elsewhere(lambda _: ids())] == expected
    assert parts(s3) == named(s3), "the winner's are there, the loser's gone"
    with raki.catalogue.open(PLACE) as opened:
        assert opened.damaged == {}


def test_a_compaction_before_which_others_come_each_time_gives_up_and_leaves_theirs(
    s3, tmp_path, monkeypatch, elsewhere, no_wait
):
    upload(s3, tmp_path, "scan0", scan_id="scan-0")
    number = itertools.count(1)

    def another():
        with monkeypatch.context() as patch:
            patch.setattr(mirrored, "replace", as_ever)
            elsewhere(compact)
        count = next(number)
        upload(s3, tmp_path, f"scan{count}", scan_id=f"scan-{count}")

    as_ever = mirrored.replace
    before(monkeypatch, "replace", another, times=99)
    with pytest.raises(TransientError, match="came first 3 times"):
        compact(PLACE)
    monkeypatch.setattr(mirrored, "replace", as_ever)
    assert len(ids()) == 4
    assert named(s3) <= parts(s3)


def test_an_index_whose_answer_was_lost_keeps_its_parts(s3, tmp_path, monkeypatch, no_wait):
    """It is put, and the request that is sent again for want of an answer is refused."""
    upload(s3, tmp_path, "scan0", scan_id="scan-0")
    as_ever = mirrored.replace

    def lost(*arguments, **named):
        as_ever(*arguments, **named)
        monkeypatch.setattr(mirrored, "replace", as_ever)
        return False

    monkeypatch.setattr(mirrored, "replace", lost)
    compact(PLACE)
    assert [row["scan_id"] for row in ids()] == ["scan-0"]
    assert parts(s3) == named(s3) != set()


def test_what_a_killed_compaction_left_goes_a_day_later(s3, tmp_path, monkeypatch):
    upload(s3, tmp_path, "scan0", scan_id="scan-0")

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mirrored, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            compact(PLACE)
    left = parts(s3)
    assert len(left) == 1
    assert [row["scan_id"] for row in ids()] == ["scan-0"]
    compact(PLACE)
    assert parts(s3) == left | named(s3), "another may be about to name them"
    monkeypatch.setattr(compaction, "LEFT_BEHIND", timedelta(0))
    compact(PLACE)
    assert parts(s3) == named(s3)
    assert [row["scan_id"] for row in ids()] == ["scan-0"]


@pytest.mark.parametrize("which", ["slices", "labels"])
def test_a_reader_has_what_was_or_what_is_while_files_take_the_place_of_others(
    s3, tmp_path, monkeypatch, elsewhere, which
):
    """What was listed is gone, or the listing was of two moments, when the files are read."""
    upload(s3, tmp_path, "scan0", scan_id="scan-0")
    elsewhere(compact)
    (tmp_path / "labels.csv").write_text("scan_id,label\nscan-0,motion\n")
    elsewhere(lambda place: import_labels(place, tmp_path / "labels.csv", made_by="ada"))
    elsewhere(lambda place: import_labels(place, tmp_path / "labels.csv", made_by="bob"))
    upload(s3, tmp_path, "scan1", scan_id="scan-1")
    as_ever, n_listed = mirrored.listed, [0]

    def listed(client, bucket, prefix, begin=""):
        found = as_ever(client, bucket, prefix, begin)
        n_listed[0] += 1
        if n_listed[0] == 1:
            with monkeypatch.context() as patch:
                patch.setattr(mirrored, "listed", as_ever)
                elsewhere(compact)
            # As from pages ahead of and behind the one that was being read.
            found = {key: each for key, each in found.items() if not key.startswith(f"raki-catalogue/{which}/")}
        return found

    monkeypatch.setattr(mirrored, "listed", listed)
    with raki.catalogue.open(PLACE) as opened:
        assert opened.damaged == {}
        assert opened.query("SELECT made_by FROM labels ORDER BY made_by").column(0).to_pylist() == ["ada", "bob"]
        assert opened.query("SELECT count(*) FROM scans").column(0).to_pylist() == [2]


def test_a_reader_that_is_open_keeps_its_parts(s3, tmp_path, elsewhere):
    upload(s3, tmp_path, "scan0", scan_id="scan-0")
    compact(PLACE)
    with raki.catalogue.open(PLACE) as opened:
        upload(s3, tmp_path, "scan1", scan_id="scan-1")
        elsewhere(compact)
        assert len(ids()) == 2
        assert opened.query("SELECT count(*) FROM scans").column(0).to_pylist() == [1]


def test_a_reader_that_is_open_answers_on_when_parts_of_its_own_copy_are_taken_away(s3, tmp_path):
    upload(s3, tmp_path, "scan0", scan_id="scan-0")
    compact(PLACE)
    with raki.catalogue.open(PLACE) as opened:
        upload(s3, tmp_path, "scan1", scan_id="scan-1")
        compact(PLACE)
        assert opened.query("SELECT count(*) FROM scans").column(0).to_pylist() == [2]


def test_a_catalogue_that_changes_faster_than_it_can_be_read_is_said(s3, tmp_path, monkeypatch):
    upload(s3, tmp_path, "scan0", scan_id="scan-0")
    as_ever, number = mirrored.listed, itertools.count()

    def listed(client, bucket, prefix, begin=""):
        s3.put_object(Bucket="a-results", Key=f"site/raki-catalogue/labels/month=2026-01/{next(number)}.x", Body=b"")
        return as_ever(client, bucket, prefix, begin)

    monkeypatch.setattr(mirrored, "listed", listed)
    with pytest.raises(NoCatalogue, match="faster than it can be read"):
        raki.catalogue.open(PLACE)
