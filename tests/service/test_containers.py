"""One scan through the worker and the job, as their containers run them, against the server of these tests."""

import json
import tarfile
from dataclasses import replace
from html import unescape
from io import BytesIO

import numpy as np
import pytest

from containers.reconstruct.__main__ import LIFE_S
from raki.errors import WrongOptions
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.formats.ismrmrd.stream_writer import write_stream
from raki.options import LARGEST_FILE_BYTES, NAMES, Options
from raki.service.interventions import Interventions
from raki.service.lanes import Lane, Lanes
from raki.service.ledger import State
from raki.service.stage import Stage
from tests.embedded_metrics import metrics_in, named
from tests.service.dropping import KEY, deliver, read, work


@pytest.fixture
def prepared(site, worker, written):
    """The worker has done its part; gives the prepared scan's key."""
    worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    ((scan_id, state),) = [(scan.scan_id, scan.state) for scan in site.ledger.scans()]
    assert state is State.PREPARED
    return f"scans/{scan_id}.h5"


def state_of_the_scan(site):
    (scan,) = site.ledger.scans()
    return scan.state


def test_what_is_missing_of_a_stopped_scan_is_named_beside_its_images(site, worker, job, raw, tmp_path):
    job._options = Options(method="zero_filled")
    with ISMRMRD_HDF5.open(raw) as scan:
        write_stream(scan.header_xml, scan.heads, scan.samples(np.arange(len(scan.heads))), tmp_path / "whole.mrd")
    deliver(site, "a/stopped.mrd", (tmp_path / "whole.mrd").read_bytes()[:-5000])
    work(site, worker, job)
    missing = ["without its closing message", "1 of 2 images was left out (slice 1): slice 1 has "]
    for name, key in (("manifest.json", "remarks"), ("provenance.json", "notes")):
        said = json.loads(read(site, name, "a/stopped"))[key]
        assert all(any(words in one for one in said) for words in missing)
    report = unescape(read(site, "report.html", "a/stopped").decode())
    assert all(words in report for words in missing)


@pytest.mark.parametrize("job", [None], indirect=True)
def test_a_scan_is_measured_on_its_way_and_leaves_no_name_behind(site, prepared, job, agent, raw, written):
    job.drain()
    assert state_of_the_scan(site) is State.RECONSTRUCTED
    assert [body["ProtectionEnabled"] for body in agent.asked] == [True, False], "the worker's; a job has none"
    found = metrics_in(written.getvalue())
    states = [dimensions["State"] for _, dimensions in named(found, "Entered")]
    assert states == ["arrived", "decompressing", "prepared", "reconstructing", "reconstructed"]
    assert named(found, "RawBytes") == [(raw.stat().st_size, {})]
    for name in ("StageSeconds", "WaitingSeconds", "BusySeconds"):
        stages = [dimensions["Stage"] for _, dimensions in named(found, name)]
        assert stages == ["decompressing", "reconstructing"]
    for name in ("Mustermann", "Max", "scans/", "manifest"):
        assert name not in written.getvalue()


def test_a_prepared_scan_is_read_where_it_is_mounted(site, prepared, job, tmp_path, monkeypatch):
    mirrored = tmp_path / "fsx" / prepared
    mirrored.parent.mkdir(parents=True)
    site.s3.download_file(site.bucket, prepared, str(mirrored))

    def download(*_):
        raise AssertionError("downloaded")

    monkeypatch.setattr(job._s3, "download_file", download)
    job.drain()
    assert state_of_the_scan(site) is State.RECONSTRUCTED


@pytest.mark.parametrize("was_lost", [False, True])
def test_beside_a_scan_whose_worker_was_lost_no_other_is_worked_on(site, prepared, job, monkeypatch, was_lost):
    if was_lost:
        (scan,) = site.ledger.scans()
        site.ledger.claim(scan.scan_id, State.RECONSTRUCTING, owner="lost", lease_s=-1)
    alone = []

    def be_alone(lane):
        alone.append(lane)

    monkeypatch.setattr(Lane, "be_alone", be_alone)
    job.drain()
    assert len(alone) == was_lost
    assert state_of_the_scan(site) is State.RECONSTRUCTED


@pytest.mark.parametrize("large", [False, True])
def test_whatever_is_computed_is_written_when_the_job_is_told_to_stop(site, prepared, job, monkeypatch, large):
    """Also what is so large that nothing else is computed meanwhile."""
    lanes, computed = [], []
    take, publish = Lane.take, Stage.publish

    def note(lane, *told):
        lanes.append(lane)
        take(lane, *told)

    def look(stage, *told, **more):
        computed.append(lanes[0].is_computed)
        publish(stage, *told, **more)

    monkeypatch.setattr(Lane, "take", note)
    monkeypatch.setattr(Stage, "publish", look)
    monkeypatch.setattr("containers.reconstruct.__main__.is_large", lambda _reconstruction: large)
    job.drain()
    assert computed == [True]


def test_a_prepared_scan_is_downloaded_where_another_one_stands(site, prepared, job, tmp_path):
    mirrored = tmp_path / "fsx" / prepared
    mirrored.parent.mkdir(parents=True)
    mirrored.write_bytes(bytes(site.s3.head_object(Bucket=site.bucket, Key=prepared)["ContentLength"]))
    job.drain()
    assert state_of_the_scan(site) is State.RECONSTRUCTED


def states_at(call, client, site):
    """The scan's state at each call of this client, which grows as they are made."""
    states = []
    client.meta.events.register(f"before-call.{call}", lambda **_: states.append(state_of_the_scan(site)))
    return states


def test_a_reconstruction_is_asked_for_before_the_scan_counts_as_prepared(site, worker):
    """A worker that is lost in between asks twice; the other way round nobody would ever ask."""
    asked = states_at("sqs.SendMessage", worker._sqs, site)
    worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    assert asked == [State.DECOMPRESSING]
    assert state_of_the_scan(site) is State.PREPARED


def test_a_scan_counts_as_reconstructed_and_its_sources_may_go_when_all_its_results_are_there(site, prepared, job):
    put, tagged = states_at("s3.PutObject", job._s3, site), []
    job._s3.meta.events.register(
        "before-call.s3.PutObjectTagging",
        lambda **_: tagged.append(site.s3.head_object(Bucket=site.bucket, Key="Mustermann/Max 1/manifest.json")),
    )
    job.drain()
    assert set(put) == {State.RECONSTRUCTING}
    assert state_of_the_scan(site) is State.RECONSTRUCTED
    assert len(tagged) == 2
    for key in (KEY, prepared):
        tags = site.s3.get_object_tagging(Bucket=site.bucket, Key=key)["TagSet"]
        assert tags == [{"Key": "raki", "Value": "reconstructed"}]


def asked_for(site, folder="Mustermann/Max 1"):
    """Each option's value and who set it, as the result's provenance says."""
    options = json.loads(read(site, "provenance.json", folder))["options"]
    return {name: (option["value"], option["set_by"]) for name, option in options.items()}


OF_THE_DEPLOYMENT = {
    "method": ("raki", "deployment"),
    "combine": ("rss", "deployment"),
    "coils": (0, "deployment"),
    "seed": (5, "deployment"),
    "maps": (True, "deployment"),
    "weights": (False, "deployment"),
    "quantities": (False, "deployment"),
    "kspace": (False, "deployment"),
    "explain": (False, "deployment"),
    "model": ("none", "deployment"),
    "mismatch": ("refuse", "deployment"),
}


def test_a_scan_without_options_is_reconstructed_as_the_deployment_says(site, worker, job):
    work(site, worker, job)
    assert asked_for(site) == OF_THE_DEPLOYMENT
    assert json.loads(read(site, "provenance.json"))["seed"] == 5


def test_beside_a_result_stands_what_its_own_seconds_cost(site, worker, job, monkeypatch):
    monkeypatch.setattr("containers.reconstruct.__main__.gpu_name", lambda: "NVIDIA A10G")
    work(site, worker, job)
    cost = json.loads(read(site, "cost.json"))
    (scan,) = site.ledger.scans()
    had_it = (scan.entered_at[State.PREPARED] - scan.entered_at[State.DECOMPRESSING]).total_seconds()
    gpu_s = sum(json.loads(read(site, "provenance.json"))["seconds"].values())
    assert cost["seconds"] == {"decompress": pytest.approx(had_it, abs=2e-3), "gpu": pytest.approx(gpu_s, abs=0.01)}
    assert cost["gpu_on_demand"] == pytest.approx(gpu_s * 3.6 / 3600, abs=2e-5)
    assert cost["scan_id"] == scan.scan_id
    files = json.loads(read(site, "manifest.json"))["files"]
    assert "cost.json" in {file["name"] for file in files}


def test_where_the_machine_has_no_price_there_is_no_cost(site, worker, job):
    work(site, worker, job)
    names = {file["name"] for file in json.loads(read(site, "manifest.json"))["files"]}
    assert "image.h5" in names
    assert "cost.json" not in names


@pytest.mark.parametrize("name", ["raki.toml", "Max 1.raki.toml"])
def test_a_scan_is_reconstructed_as_the_file_beside_it_says(site, worker, job, name):
    options = b"[reconstruction]\nmethod = 'grappa'\ncombine = 'adaptive'\ncoils = 2\nmaps = false\n"
    deliver(site, f"Mustermann/{name}", options)
    work(site, worker, job)
    own = {"method": "grappa", "combine": "adaptive", "coils": 2, "maps": False}
    assert asked_for(site) == OF_THE_DEPLOYMENT | {one: (value, "raki.toml") for one, value in own.items()}
    facts = json.loads(read(site, "provenance.json"))
    assert (facts["method"], facts["combination"], facts["n_virtual_coils"]) == ("grappa", "adaptive", 2)
    assert (
        "method grappa, combine adaptive, coils 2, maps no (raki.toml); "
        "seed 5, weights no, quantities no, kspace no, explain no, model none, mismatch refuse (deployment)"
        in read(site, "report.html").decode()
    )
    assert [scan.raw_key for scan in site.ledger.scans()] == [KEY], "a file of options is no scan"


def test_the_file_in_the_archive_goes_before_the_one_of_the_scans_name_and_that_before_the_folders(
    site, worker, job, raw
):
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(raw, "scan/scan.h5")
        own = b"[reconstruction]\nseed = 1"
        member = tarfile.TarInfo("scan/raki.toml")
        member.size = len(own)
        archive.addfile(member, BytesIO(own))
    deliver(site, "packed/scan.tar", packed.getvalue())
    deliver(site, "plain/scan.h5", raw.read_bytes())
    for folder in ("packed", "plain"):
        deliver(site, f"{folder}/scan.raki.toml", b"[reconstruction]\nseed = 2")
        deliver(site, f"{folder}/raki.toml", b"[reconstruction]\nseed = 3\nmethod = 'grappa'")
    work(site, worker, job)
    assert asked_for(site, "packed/scan") == OF_THE_DEPLOYMENT | {"seed": (1, "raki.toml")}
    assert asked_for(site, "plain/scan") == OF_THE_DEPLOYMENT | {"seed": (2, "raki.toml")}
    assert asked_for(site) == OF_THE_DEPLOYMENT, "those of other folders are not its own"


def test_what_a_scan_asks_for_after_a_cancel_and_a_retry_counts_though_an_older_request_comes_first(site, worker, job):
    worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    (prepared,) = site.ledger.scans()
    desk = Interventions(site.ledger._table._client, site.bucket)
    assert desk.cancel(prepared.scan_id)
    site.s3.put_object(
        Bucket=site.bucket, Key="Mustermann/raki.toml", Body=b"[reconstruction]\nmethod = 'zero_filled'\nmaps = false\n"
    )
    assert desk.restart(site.ledger.get(prepared.scan_id))
    deliver(site, KEY)
    work(site, worker, job)
    assert asked_for(site)["method"] == ("zero_filled", "raki.toml")


def test_options_that_come_after_the_scan_was_taken_up_count_when_it_is_dropped_again(site, prepared, worker, job):
    deliver(site, "Mustermann/raki.toml", b"[reconstruction]\nmethod = 'grappa'")
    work(site, worker, job)
    assert asked_for(site) == OF_THE_DEPLOYMENT
    assert state_of_the_scan(site) is State.RECONSTRUCTED
    (scan,) = site.ledger.scans()
    site.ledger.deliver(scan.scan_id)
    deliver(site, KEY)
    work(site, worker, job)
    assert asked_for(site)["method"] == ("grappa", "raki.toml")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (b"[reconstruction]\nmetod = 'grappa'", "reconstruction.metod, which is no option; those are method, combine"),
        (b"[reconstruction]\nmethod = 'raki2091'", "method is 'raki2091'; one of grappa, iraki, raki"),
        (b"[reconstruction]\ncoils = 4", "coils is 4 and the scan has 3 coils"),
        (b"#" * (LARGEST_FILE_BYTES + 1), f"more than {LARGEST_FILE_BYTES} bytes"),
        (b"method: grappa", "is no TOML"),
    ],
)
def test_wrong_options_end_the_scan_with_their_sentence_on_the_share(site, worker, job, raw, options, says):
    deliver(site, "Mustermann/raki.toml", options)
    work(site, worker, job)
    (scan,) = site.ledger.scans()
    assert (scan.state, scan.failure_class) == (State.FAILED, WrongOptions.__name__)
    assert says in scan.failure
    error = json.loads(read(site, "error.json"))
    assert (error["failure_class"], error["failure"]) == (WrongOptions.__name__, scan.failure)
    assert scan.failure in unescape(read(site, "error.html").decode())
    assert site.s3.get_object(Bucket=site.bucket, Key=KEY)["Body"].read() == raw.read_bytes()


def test_a_scan_that_is_dropped_again_beside_a_mended_file_comes_through(site, worker, job):
    deliver(site, "Mustermann/raki.toml", b"[reconstruction]\nmethod = 'raki2091'")
    work(site, worker, job)
    assert state_of_the_scan(site) is State.FAILED
    deliver(site, "Mustermann/raki.toml", b"")
    deliver(site, KEY)
    work(site, worker, job)
    assert asked_for(site) == OF_THE_DEPLOYMENT


def test_a_deployments_number_of_coils_is_a_cap(site, prepared, job):
    job._options = Options(method="grappa", coils=4)
    job.drain()
    facts = json.loads(read(site, "provenance.json"))
    assert (facts["n_virtual_coils"], facts["scan"]["n_coils"]) == (None, 3)
    assert set(asked_for(site)) == set(NAMES)


def test_a_job_waits_as_long_as_the_dispatcher_says_and_leaves_before_batch_ends_it(site, job, monkeypatch):
    patience = []
    monkeypatch.setattr(Lanes, "__init__", lambda _lanes, *told: patience.extend(told[-2:]))
    monkeypatch.setattr(Lanes, "run", lambda _lanes: None)
    monkeypatch.setattr("containers.reconstruct.__main__.PATIENCE_S", 5)
    job.drain()
    patience_s, takes_more = patience
    assert patience_s() == 5, "nobody has said anything yet"
    site.books.keep("patience_s", "600")
    assert patience_s() == 600
    assert takes_more()
    job._started_s -= LIFE_S + 1
    assert not takes_more()


@pytest.mark.parametrize("is_sound", [True, False])
def test_where_identity_is_taken_out_no_name_of_a_file_is_to_be_seen(site, worker, job, raw, is_sound):
    job._options = Options(method="zero_filled")
    worker._settings = replace(worker._settings, deidentify=True)
    if not is_sound:
        deliver(site, KEY, b"Dear grandma, ...")
    work(site, worker, job)
    scan = next(scan for scan in site.ledger.scans() if scan.failure_class != "Superseded")
    assert scan.state is (State.RECONSTRUCTED if is_sound else State.FAILED)
    assert scan.alias == scan.results_folder
    listed = site.s3.list_objects_v2(Bucket=site.bucket, Prefix=f"{scan.alias}/")["Contents"]
    names = {entry["Key"].rpartition("/")[2] for entry in listed}
    assert names > {"manifest.json", "report.html" if is_sound else "error.html"}
    for name in names:
        content = read(site, name, scan.alias)
        assert b"Mustermann" not in content, name
        assert b"Max" not in content, name
    assert scan.alias.encode() in read(site, "report.html" if is_sound else "error.html", scan.alias)


def test_a_files_versions_have_one_token_and_two_files_have_two(site, worker):
    worker._settings = replace(worker._settings, deidentify=True)
    for content in (b"first", b"second"):
        deliver(site, KEY, content)
        worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    deliver(site, "another.h5", b"first")
    worker._stage.serve(worker._handle, wait_s=0, until_empty=True)
    folders = [(scan.raw_key, scan.results_folder) for scan in site.ledger.scans()]
    assert len(set(folders)) == 2
    assert {len(folder) for _, folder in folders} == {20}
