"""Models in a bucket: pushed whole, brought by version or digest, and asked for by a scan."""

import json

import pytest

from raki.errors import BadModel, NoSuchModel
from raki.models import Store
from raki.models.store import read_model
from raki.options import Options
from raki.service import model_objects
from raki.service.ledger import State
from tests.models.conftest import place  # noqa: F401 -- a fixture
from tests.service.test_containers import KEY, read, state_of_the_scan, work


@pytest.fixture
def bucket(cloud, place):  # noqa: F811
    """Two versions of one model."""
    prefix = "raki/head-6ch/"
    for version in ("9", "10"):
        model_objects.upload(cloud.s3, cloud.bucket, f"{prefix}{version}/", place.kept.folder)
    return f"s3://{cloud.bucket}/raki"


def test_a_model_is_brought_as_it_was_put_there(cloud, bucket, place, tmp_path):  # noqa: F811
    assert model_objects.versions(cloud.s3, cloud.bucket, "raki/head-6ch/") == ["10", "9"]
    model_objects.bring(cloud.s3, bucket, "head-6ch", None, None, tmp_path / "a")
    assert read_model(tmp_path / "a/head-6ch/10").digest == place.kept.digest
    model_objects.bring(cloud.s3, bucket, "head-6ch", "9", None, tmp_path / "b")
    assert [each.name for each in (tmp_path / "b/head-6ch").iterdir()] == ["9"]
    model_objects.bring(cloud.s3, bucket, "head-6ch", None, place.kept.digest, tmp_path / "c")
    with pytest.raises(NoSuchModel, match="no model head-8ch at s3://"):
        model_objects.bring(cloud.s3, bucket, "head-8ch", None, None, tmp_path / "d")
    with pytest.raises(NoSuchModel, match="push the model first"):
        model_objects.bring(cloud.s3, bucket, "head-6ch", "11", None, tmp_path / "e")


def test_another_model_is_never_put_over_one(cloud, bucket, place, tmp_path):  # noqa: F811
    model_objects.upload(cloud.s3, cloud.bucket, "raki/head-6ch/9/", place.kept.folder)
    for file in place.kept.folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes() + b" ")
    with pytest.raises(BadModel, match="another model stands at"):
        model_objects.upload(cloud.s3, cloud.bucket, "raki/head-6ch/9/", tmp_path)


def test_what_was_changed_in_the_bucket_is_not_taken(cloud, bucket, place, tmp_path):  # noqa: F811
    cloud.s3.put_object(Bucket=cloud.bucket, Key="raki/head-6ch/10/weights.safetensors", Body=b"\x80\x04.")
    model_objects.bring(cloud.s3, bucket, "head-6ch", None, None, tmp_path)
    with pytest.raises(BadModel, match=r"is not what model\.json says"):
        Store(root=tmp_path).find("head-6ch")


def test_the_command_line_pushes_and_pulls(cloud, place, run, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.s3.meta.endpoint_url)
    address = f"s3://{cloud.bucket}/models"
    assert run("models", "push", "head-6ch", address, "--store", place.store.root)[0] == 0
    code, said, _ = run("models", "pull", f"{address}/head-6ch", "--store", tmp_path, "--sha256", place.kept.digest)
    assert (code, said.strip()) == (0, place.kept.pinned)
    assert run("models", "pull", f"{address}/head-8ch", "--store", tmp_path)[0] == NoSuchModel.exit_code
    assert run("models", "pull", f"{address}/../etc", "--store", tmp_path)[0] == NoSuchModel.exit_code


def asking(job, **options):
    job._options = Options(method="grappa", maps=False, **options)
    return job


def test_a_scan_that_asks_for_a_model_of_a_deployment_without_any_is_told_so(site, worker, job):
    work(site, worker, asking(job, model="head-6ch"))
    assert state_of_the_scan(site) is State.FAILED
    told = json.loads(read(site, "error.json"))
    assert told["failure_class"] == "NoSuchModel"
    assert "raki:models" in json.dumps(told)


@pytest.mark.parametrize(("mismatch", "state"), [("refuse", State.FAILED), ("own", State.RECONSTRUCTED)])
def test_a_scan_that_the_model_is_not_for_is_refused_or_calibrated(site, worker, job, bucket, mismatch, state):
    assert KEY
    job._settings = type(job._settings)(**{**vars(job._settings), "models": bucket})
    work(site, worker, asking(job, model="head-6ch@10", mismatch=mismatch))
    assert state_of_the_scan(site) is state
    if state is State.FAILED:
        assert json.loads(read(site, "error.json"))["failure_class"] == "ModelMismatch"
    else:
        facts = json.loads(read(site, "provenance.json"))
        assert (facts["model"]["name"], facts["model"]["n_used"]) == ("head-6ch", 0)
        assert facts["options"]["model"]["value"].startswith("head-6ch@1@sha256:")
