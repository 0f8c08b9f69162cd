"""A bucket's catalogue is read, compacted and labelled as a folder's is, and read again only where it changed."""

import boto3
import pytest
from moto import mock_aws

import raki.catalogue
from raki.catalogue import NoCatalogue, compact, compaction, import_labels, stream
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

        def meanwhile(root):
            s3.put_object(
                Bucket="a-results", Key="site/raki-catalogue/labels/month=2026-01/of-another.parquet", Body=b""
            )
            return in_a_folder(root)

        in_a_folder = compaction._compact
        patch.setattr(compaction, "_compact", meanwhile)
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
