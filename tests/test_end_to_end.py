"""The whole service on one machine, as `raki local` runs it: its own process, real stacks, handlers, worker and job."""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
from datetime import datetime
from pathlib import Path

import nibabel
import pytest
from PIL import Image

from raki.phantom.simulation import simulate_scan
from raki.service.ledger import State
from tests.conftest import REAL_SCANS
from tests.running import RAKI, running

pytestmark = pytest.mark.timeout(900)

RESULTS = [
    "catalogue.jsonl",
    "g_factor.nii.gz",
    "image.dcm",
    "image.h5",
    "image.nii.gz",
    "preview.png",
    "provenance.json",
    "report.html",
    "standard_error.nii.gz",
    "structure_kept.nii.gz",
]


@pytest.fixture(scope="module")
def service(assembly, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    shutil.copytree(assembly, folder / "work/cdk.out")
    with running(folder) as service:
        yield service


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantom") / "Mustermann.tar.gz"
    simulate_scan(path, n_slices=2, n_coils=8, matrix=96, acceleration=3, n_acs_lines=20, seed=7)
    return path


@pytest.fixture(scope="module")
def delivered(service, phantom):
    """A scan in an archive, in a folder of its own, waited for until the share shows its results."""
    service.drop(phantom, "site1/to day/Mustermann.tar.gz")
    folder = service.wait_for_results("site1/to day/Mustermann")
    return service, service.wait_for_end("site1/to day/Mustermann.tar.gz"), folder


def test_a_dropped_scan_comes_back_as_images(delivered):
    _, scan, folder = delivered
    assert scan.state is State.DELIVERED
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["scan_id"], manifest["outcome"]) == (scan.scan_id, "reconstructed")
    assert sorted(entry["name"] for entry in manifest["files"]) == RESULTS
    for entry in manifest["files"]:
        assert hashlib.sha256((folder / entry["name"]).read_bytes()).hexdigest() == entry["sha256"]
    assert nibabel.load(folder / "image.nii.gz").shape == (96, 96, 2)
    with Image.open(folder / "preview.png") as preview:
        assert preview.width > 500
    assert "<html" in (folder / "report.html").read_text()


def test_every_state_was_passed_in_its_order(delivered):
    _, scan, _ = delivered
    passed = [scan.entered_at[state] for state in State if state is not State.FAILED]
    assert passed == sorted(passed)


def test_results_appear_only_after_the_gateway_was_asked_to_look(delivered):
    service, scan, folder = delivered
    (refresh, *_) = service.happened("RefreshCache")
    assert refresh["detail"].startswith("results: /: "), "the gateway doesn't know the folder yet, nor the one above"
    written = json.loads((folder / "manifest.json").read_text())["written_at"]
    assert datetime.fromisoformat(written) <= datetime.fromisoformat(refresh["at"])
    appeared = datetime.fromtimestamp(
        (folder / "report.html").stat().st_ctime, tz=scan.entered_at[State.ARRIVED].tzinfo
    )
    assert appeared >= scan.entered_at[State.RECONSTRUCTED]


def test_the_raw_scan_is_as_it_was_and_may_now_be_archived(delivered, phantom):
    service, scan, _ = delivered
    s3, bucket = service.client("s3"), service.output("RawBucket")
    assert s3.get_object(Bucket=bucket, Key=scan.raw_key)["Body"].read() == phantom.read_bytes()
    assert s3.get_object_tagging(Bucket=bucket, Key=scan.raw_key)["TagSet"] == [
        {"Key": "raki", "Value": "reconstructed"}
    ]


def test_the_workers_came_for_the_scan_and_went(delivered):
    service, *_ = delivered

    def counts():
        return [int(event["detail"].rpartition(" ")[2]) for event in service.happened("ecs desired count")]

    service.wait_until(lambda: counts()[-1] == 0, "the desired count's return to zero")
    assert counts()[-3:] == [0, 1, 0]


OPTIONS = {
    "Musterfrau/raki.toml": '[reconstruction]\nmethod = "raki2019"\nmaps = false\n',
    "Irrtum/kopf.raki.toml": '[reconstruction]\nmetod = "raki2019"\n',
}


@pytest.fixture(scope="module")
def with_options(delivered, raw, tmp_path_factory):
    """Two scans, dropped when the files of options beside them had become objects."""
    service, *_ = delivered
    for key, text in OPTIONS.items():
        file = tmp_path_factory.mktemp("options") / "raki.toml"
        file.write_text(text)
        service.drop(file, key)
        uploaded = f"raw/{key}, {len(text)} bytes"
        service.wait_until(lambda line=uploaded: line in str(service.happened("uploaded")), f"the upload of {key}")
    for folder in ("Musterfrau", "Irrtum"):
        service.drop(raw, f"{folder}/kopf.h5")
    return service


def test_a_scan_beside_a_raki_toml_is_reconstructed_as_that_says(with_options):
    folder = with_options.wait_for_results("Musterfrau/kopf")
    assert with_options.wait_for_end("Musterfrau/kopf.h5").state is State.DELIVERED
    facts = json.loads((folder / "provenance.json").read_text())
    assert facts["method"] == "raki2019"
    assert facts["options"]["method"] == {"value": "raki2019", "set_by": "raki.toml"}
    assert facts["options"]["combine"] == {"value": "rss", "set_by": "deployment"}
    assert "method raki2019, maps no (raki.toml)" in (folder / "report.html").read_text()


def test_a_key_that_there_is_not_gets_its_sentence_on_the_share(with_options, raw):
    scan = with_options.wait_for_end("Irrtum/kopf.h5")
    assert (scan.state, scan.failure_class) == (State.FAILED, "WrongOptions")
    assert (
        "reconstruction.metod, which is no option; those are method, combine, coils, seed, maps, weights, quantities"
        in scan.failure
    )
    folder = with_options.wait_for_results("Irrtum/kopf")
    assert "reconstruction.metod" in (folder / "error.html").read_text()
    kept = with_options.client("s3").get_object(Bucket=with_options.output("RawBucket"), Key=scan.raw_key)["Body"]
    assert kept.read() == raw.read_bytes()


def test_a_raki_toml_itself_is_no_scan_and_gets_no_page(with_options):
    for folder in ("Musterfrau", "Irrtum"):
        with_options.wait_for_end(f"{folder}/kopf.h5")
        with_options.wait_for_results(f"{folder}/kopf")
        assert [path.name for path in (with_options.share / "results" / folder).iterdir()] == ["kopf"]
    assert not [scan.raw_key for scan in with_options.ledger.scans() if scan.raw_key.endswith(".toml")]


def without_calibration(path: Path) -> None:
    simulate_scan(path, n_slices=1, n_coils=4, matrix=64, acceleration=4, n_acs_lines=0, seed=1)


def truncated(path: Path) -> None:
    simulate_scan(path, n_slices=1, n_coils=4, matrix=64, acceleration=2, n_acs_lines=16, seed=1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


BAD = {
    "letter.h5": (lambda path: path.write_text("Dear grandma,"), "NotAScan"),
    "empty.h5": (lambda path: path.write_bytes(b""), "NotAScan"),
    "cut.h5": (truncated, "DamagedScan"),
    "uncalibrated.h5": (without_calibration, "NoCalibration"),
}


def kill_in_mid_scan(service, key: str, module: str, state: State) -> None:
    """SIGKILL for every process of `module` while the scan is in `state`.

    They run for a moment at a time and stand still while the ledger is read, so that no slow machine misses the state.
    """

    def send(signal_number: int, processes: list[int]) -> None:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal_number)

    def at_work() -> list[int]:
        workers = service.processes(module)
        send(signal.SIGSTOP, workers)
        scan = service.scan(key)
        if scan is not None and scan.state is state:
            return workers
        send(signal.SIGCONT, workers)
        return []

    send(signal.SIGKILL, service.wait_until(at_work, f"{key} at work"))
    assert service.scan(key).state is state, "the scan was through already: nothing was killed in mid-scan"


@pytest.fixture(scope="module")
def bereaved(delivered, phantom):
    """The key of a scan whose worker was killed while it decompressed it."""
    service, *_ = delivered
    key = "killed/scan.tar.gz"
    service.drop(phantom, key)
    kill_in_mid_scan(service, key, "containers.decompress", State.DECOMPRESSING)
    return key


@pytest.fixture(scope="module")
def crowd(delivered, bereaved, phantom, tmp_path_factory):
    """Good, broken and large scans, all dropped at the same time; they are waited for one by one.

    Dropped while the bereaved scan waits for its turn to come again.
    """
    service, *_ = delivered
    folder = tmp_path_factory.mktemp("crowd")
    for name, (make, _) in BAD.items():
        make(folder / name)
        service.drop(folder / name, f"mixed/{name}")
    service.drop(phantom, "mixed/good.tar.gz")
    if REAL_SCANS.is_dir():
        service.drop(REAL_SCANS / "vendor/SNR_R3_14ch_grappa3_noise.h5", "site2/bottles.h5")
    return service, folder


def test_a_scan_outlives_the_processes_that_work_on_it(crowd, bereaved):
    service, _ = crowd
    kill_in_mid_scan(service, bereaved, "containers.reconstruct", State.RECONSTRUCTING)
    scan = service.wait_for_end(bereaved)
    assert scan.state is State.DELIVERED
    assert min(scan.attempts[stage] for stage in (State.DECOMPRESSING, State.RECONSTRUCTING)) > 1
    assert (service.wait_for_results("killed/scan") / "report.html").exists()


@pytest.mark.parametrize("name", BAD)
def test_a_broken_scan_gets_a_page_and_stays_as_it_was(crowd, name):
    service, originals = crowd
    scan = service.wait_for_end(f"mixed/{name}")
    assert (scan.state, scan.failure_class) == (State.FAILED, BAD[name][1])
    folder = service.wait_for_results(f"mixed/{Path(name).stem}")
    assert json.loads((folder / "error.json").read_text())["failure"] == scan.failure
    assert "Traceback" not in (folder / "error.html").read_text()
    raw = service.client("s3").get_object(Bucket=service.output("RawBucket"), Key=scan.raw_key)["Body"].read()
    assert raw == (originals / name).read_bytes()


def test_a_good_scan_among_broken_ones_comes_through(crowd):
    service, _ = crowd
    assert service.wait_for_end("mixed/good.tar.gz").state is State.DELIVERED
    assert (service.wait_for_results("mixed/good") / "report.html").exists()


@pytest.mark.usefixtures("real_scans")
def test_a_real_scan_from_a_scanner(crowd):
    service, _ = crowd
    folder = service.wait_for_results("site2/bottles")
    assert service.wait_for_end("site2/bottles.h5").state is State.DELIVERED
    provenance = json.loads((folder / "provenance.json").read_text())
    assert (provenance["scan"]["acceleration"], provenance["scan"]["n_coils"]) == (3, 14)


def test_the_rehearsal_of_alarms_counts_the_scans_that_ended(crowd, bereaved):
    service, _ = crowd
    keys = (f"mixed/{name}" for name in (*BAD, "good.tar.gz"))
    n_failed = [service.wait_for_end(key).state for key in (*keys, bereaved)].count(State.FAILED)
    said = subprocess.run([RAKI, "alarms", "--work", service.work, "--json"], capture_output=True, check=True).stdout
    found = {one["alarm"]: one for one in json.loads(said)}
    assert n_failed == len(BAD)
    assert found["MostScansFail"]["n_samples"] >= n_failed + 2
    assert found["WorkerLost"]["verdict"] == "stayed quiet", "killed once in each stage, and not on every attempt"
    assert found["IngestDeadLetters"]["verdict"] == "not measured here"


def test_logs_carry_scan_ids_and_no_name_from_the_share(crowd, delivered):
    service, _ = crowd
    _, scan, _ = delivered
    text = "".join(path.read_text(errors="replace") for path in (service.work / "logs").rglob("*.log"))
    assert scan.scan_id in text
    assert '"failure_class": "NotAScan"' in text
    names = {part for known in service.ledger.scans() for part in known.raw_key.split("/")}
    assert "Mustermann.tar.gz" in names
    assert not [name for name in names if name in text]
