"""What a killed local cloud leaves on the share is gone after the next start; what is in use, or a person's, stays."""

import json
import os
import subprocess
import sys
import threading
import time

import pytest

from infra.local import work_folder
from infra.local.journal import Journal
from infra.local.share import leftovers
from infra.local.share.folder import ShareFolder


class Bucket:
    """As much of S3 as a refresh needs."""

    def __init__(self, objects):
        self.objects = objects

    def get_paginator(self, _name):
        return self

    def paginate(self, **_request):
        return [{"Contents": [{"Key": key, "ETag": f'"{key}"'} for key in self.objects]}]

    def download_fileobj(self, _bucket, key, target, **_settings):
        target.write(self.objects[key])


@pytest.fixture
def opened(tmp_path):
    def open_share(objects):
        journal = Journal(tmp_path / "events.log", lambda _event: None)
        return ShareFolder(tmp_path / "results", "bucket", "", Bucket(objects), journal, read_only=True)

    return open_share


def results(folder, outcome, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(outcome)
    (folder / "manifest.json").write_text(json.dumps({"files": [{"name": name} for name in names]}))


def test_new_results_take_the_place_of_those_of_before_the_start(opened, tmp_path):
    share = tmp_path / "results"
    results(share / "site/scan", "failed", "error.html", "error.json")
    results(share / "site/other", "reconstructed", "image.h5")
    (share / "site/scan/notes.txt").write_text("a person's own")
    folder = opened({"site/scan/image.h5": b"new", "site/scan/manifest.json": b"{}"})
    folder.refresh(["/"], recursive=True)
    assert sorted(path.name for path in (share / "site/scan").iterdir()) == ["image.h5", "manifest.json", "notes.txt"]
    assert (share / "site/other/image.h5").exists(), "no new results have come for it"


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"files": [{"name": "../../keep"}]}'])
def test_a_manifest_of_anybody_elses_takes_nothing_with_it(opened, tmp_path, content):
    share = tmp_path / "results"
    (share / "a").mkdir(parents=True)
    (tmp_path / "keep").write_text("")
    (share / "a/manifest.json").write_text(content)
    opened({"a/image.h5": b"new"}).refresh(["/"], recursive=True)
    assert (share / "a/image.h5").read_bytes() == b"new"
    assert (tmp_path / "keep").exists()


def test_unfinished_files_go_unless_somebody_is_writing_them(opened, tmp_path):
    share = tmp_path / "results" / "site"
    share.mkdir(parents=True)
    left, held, other = share / ".raki-1.part", share / ".raki-2.part", share / "scan.part"
    for path in (left, held, other):
        path.write_text("half")
    with held.open("rb") as writer:
        leftovers.hold(writer)
        opened({})
        assert sorted(path.name for path in share.iterdir()) == [".raki-2.part", "scan.part"]
    opened({})
    assert sorted(path.name for path in share.iterdir()) == ["scan.part"]


def test_a_folder_of_an_unfinished_file_goes_when_nobody_has_touched_it_for_an_hour(opened, tmp_path):
    share = tmp_path / "results"
    for name, age_s in (("stale", leftovers.STALE_AFTER_S + 60), ("young", 60)):
        folder = share / f".raki-{name}"
        folder.mkdir(parents=True)
        (folder / "scan.h5").write_text("half")
        for path in (folder / "scan.h5", folder):
            os.utime(path, (time.time() - age_s,) * 2)
    # A file that grows doesn't make its folder younger.
    busy = share / ".raki-busy"
    busy.mkdir()
    (busy / "scan.h5").write_text("half")
    os.utime(busy, (0, 0))
    opened({})
    assert sorted(path.name for path in share.iterdir()) == [".raki-busy", ".raki-young"]


def test_what_a_killed_cloud_left_in_its_work_folder_is_gone_and_its_logs_are_not(tmp_path):
    for name in ("containers/container-1/tmp/scan", "functions/f/code.py", "logs/batch.log", "cdk.out/manifest.json"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("left")
    with work_folder.held(tmp_path):
        left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"logs/batch.log", "cdk.out/manifest.json"}


def test_a_work_folder_is_one_clouds_at_a_time(tmp_path):
    program = (
        f"from pathlib import Path; from infra.local.work_folder import held; import time\n"
        f"with held(Path({str(tmp_path)!r})): print('has it', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "has it\n"
        (tmp_path / "containers").mkdir()
        with pytest.raises(work_folder.WorkFolderInUse, match="--work"), work_folder.held(tmp_path):
            pass
        assert (tmp_path / "containers").is_dir(), "it is the other one's"
        other.kill()
    with work_folder.held(tmp_path):
        assert not (tmp_path / "containers").exists()


class ListedMeanwhile(Bucket):
    """One whose first listing is under way when another object comes and the share is told to refresh again."""

    def __init__(self, objects):
        super().__init__(objects)
        self.again = None

    def paginate(self, **request):
        pages = super().paginate(**request)
        if self.again is None:
            self.objects["site/scan/manifest.json"] = b"{}"
            self.again = threading.Thread(target=self.share.refresh, args=(["/"],), kwargs={"recursive": True})
            self.again.start()
            self.again.join(0.5)
        return pages


def test_a_refresh_that_listed_earlier_takes_nothing_away_that_came_since(tmp_path):
    bucket = ListedMeanwhile({"site/scan/image.h5": b"new"})
    journal = Journal(tmp_path / "events.log", lambda _event: None)
    bucket.share = ShareFolder(tmp_path / "results", "bucket", "", bucket, journal, read_only=True)
    bucket.share.refresh(["/"], recursive=True)
    bucket.again.join(30)
    found = sorted(path.name for path in (tmp_path / "results/site/scan").iterdir())
    assert found == ["image.h5", "manifest.json"]
