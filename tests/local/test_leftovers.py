"""What a killed local cloud leaves on the share is gone after the next start; what is in use, or a person's, stays."""

import json
import os
import time

import pytest

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
