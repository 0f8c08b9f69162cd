"""The compaction's program, on a bucket: what it does, says, asks of AWS, and how it ends where it can't."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from fnmatch import fnmatch

import boto3
import pytest
from moto import mock_aws

import raki.catalogue
from containers.compact import __main__ as program
from raki.catalogue import NoCatalogue
from raki.service.settings import CompactSettings
from tests.calls import ACTIONS, LISTING, listed
from tests.catalogue.delivered import deliver
from tests.embedded_metrics import logged, metrics_in, named

BUCKET = "a-results"
PATIENT = "Muster^Anna"
SETTINGS = CompactSettings(limit_s=300, results_bucket=BUCKET)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """A bucket of results, and what is asked of S3 from then on: each action with its key."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    asked = []
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        boto3.DEFAULT_SESSION.events.register(
            "provide-client-params.s3",
            lambda params, model, **_: asked.append((f"s3:{model.name}", params.get("Key"))),
        )
        yield asked


@pytest.fixture
def put(tmp_path):
    def put(name, **arguments):
        folder = deliver(tmp_path / "made", name, **arguments)
        for file in folder.iterdir():
            boto3.Session().client("s3").upload_file(str(file), BUCKET, f"{name}/{file.name}")

    return put


@pytest.fixture
def main(monkeypatch, capsys):
    """Runs the program as its container does; gives exit code and log."""

    def main(settings=SETTINGS):
        for name, value in asdict(settings).items():
            monkeypatch.setenv(name.upper(), str(value))
        monkeypatch.setattr("sys.argv", ["compact"])
        with logged():  # for what it puts back afterwards: the program writes to its own output
            try:
                code = program.main()
            except SystemExit as ended:
                code = ended.code
        return code, capsys.readouterr().out

    return main


def parts():
    found = boto3.Session().client("s3").list_objects_v2(Bucket=BUCKET, Prefix="raki-catalogue/slices/")
    return [each["Key"] for each in found.get("Contents", [])]


def test_rows_beside_results_are_in_the_catalogues_files_once(asked, put, main, tmp_path, monkeypatch):
    put("scan1", scan_id="scan-1")
    put("scan2", scan_id="scan-2")
    code, log = main()
    assert code == 0
    (line,) = [json.loads(one) for one in log.splitlines() if '"compacted"' in one]
    assert (line["n_results"], line["n_gone"], line["n_parts"]) == (2, 0, 1)
    assert named(metrics_in(log), "Compactions") == [(1, {})]
    assert named(metrics_in(log), "CompactionFailures") == []
    before = parts()
    put("scan2", scan_id="scan-2", n_slices=5)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert main()[0] == 0
    (after,) = parts()
    assert [after] != before
    with raki.catalogue.open(f"s3://{BUCKET}") as opened:
        counted = opened.query("SELECT scan_id, count(*) AS n FROM slices GROUP BY ALL ORDER BY ALL").to_pylist()
    assert counted == [{"scan_id": "scan-1", "n": 3}, {"scan_id": "scan-2", "n": 5}]


def test_it_asks_for_nothing_that_its_role_may_not(asked, put, main, tmp_path, monkeypatch):
    """Threads fetch the objects, where nobody sees who makes a call; so here by the keys."""
    allowed = listed(LISTING.read_text())["CompactionTaskRole"]
    put("scan1", scan_id="scan-1")
    main()
    put("scan1", scan_id="scan-1", n_slices=5)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    asked.clear()
    main()
    seen = set()
    for call, key in asked:
        (action,) = ACTIONS.get(call, [call])
        place = f"Results/{key}" if key else "Results"
        assert any(fnmatch(place, pattern) for pattern in allowed[action]), (call, key)
        seen.add(action)
    assert seen == {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"}


def test_damaged_rows_are_counted_and_no_name_of_a_folder_is_logged(asked, put, main):
    put("scan1", scan_id="scan-1")
    put(PATIENT, scan_id="scan-2")
    boto3.Session().client("s3").put_object(Bucket=BUCKET, Key=f"{PATIENT}/catalogue.jsonl", Body=b"{")
    code, log = main()
    assert code == 0
    (line,) = [json.loads(one) for one in log.splitlines() if "WARNING" in one]
    assert line["n_damaged"] == 1
    assert "Muster" not in log
    assert named(metrics_in(log), "Compactions") == [(1, {})]


def test_a_bucket_that_cant_be_read_is_a_failure_with_its_class(asked, main):
    code, log = main(CompactSettings(limit_s=300, results_bucket="another-bucket"))
    assert code == NoCatalogue.exit_code
    assert named(metrics_in(log), "CompactionFailures") == [(1, {})]
    assert named(metrics_in(log), "Compactions") == []
    assert '"failure_class": "NoCatalogue"' in log


def test_an_error_of_any_kind_is_told_without_its_words(main, monkeypatch):
    def fails(_place):
        raise OSError(28, f"no space left on device: {PATIENT}/catalogue.jsonl")

    monkeypatch.setattr(program, "compact", fails)
    code, log = main()
    assert code == 1
    assert named(metrics_in(log), "CompactionFailures") == [(1, {})]
    assert '"exception": "OSError"' in log
    assert "Muster" not in log


def test_what_takes_too_long_is_ended_and_is_a_failure(main, monkeypatch):
    monkeypatch.setattr(program, "compact", lambda _place: time.sleep(30))
    before = signal.getsignal(signal.SIGALRM)
    began_s = time.monotonic()
    code, log = main(CompactSettings(limit_s=1, results_bucket=BUCKET))
    assert time.monotonic() - began_s < 5
    assert code == 1
    assert named(metrics_in(log), "CompactionFailures") == [(1, {})]
    assert '"failure_class": "OutOfTime"' in log
    assert (signal.alarm(0), signal.getsignal(signal.SIGALRM)) == (0, before), "the clock is stopped"


def test_what_doesnt_end_by_itself_then_is_ended_by_the_kernel():
    stubborn = (
        "import time; from containers.compact import __main__ as program\n"
        "program.GRACE_S = 1\n"
        "with program.limited(1):\n"
        "    while True:\n"
        "        try: time.sleep(30)\n"
        "        except program.OutOfTime: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", stubborn], timeout=20, check=False)
    assert done.returncode == -signal.SIGALRM
