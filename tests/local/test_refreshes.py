"""Two refreshes of one share at once, and objects that no file can be."""

import threading

from infra.local.journal import Journal
from infra.local.share.folder import ShareFolder


class Bucket:
    """Holds what a test puts into it; `while_listing` is called between a listing and what is made of it."""

    def __init__(self, keys, while_listing):
        self.keys, self.while_listing = keys, while_listing

    def get_paginator(self, _name):
        return self

    def paginate(self, **_where):
        found = [{"Key": key, "ETag": key} for key in self.keys]
        self.while_listing()
        return [{"Contents": found}]

    def download_fileobj(self, _bucket, key, target, **_how):
        target.write(key.encode())


def test_a_refresh_with_an_older_listing_removes_nothing_that_a_newer_one_has_brought(tmp_path):
    second = []

    def a_file_comes_and_another_refresh_begins():
        if not second:
            second.append(threading.Thread(target=lambda: folder.refresh(["/"], recursive=True)))
            bucket.keys = [*bucket.keys, "new.txt"]
            second[0].start()
            second[0].join(timeout=0.5)  # it waits for its turn, or it doesn't

    bucket = Bucket(["old.txt"], a_file_comes_and_another_refresh_begins)
    journal = Journal(tmp_path / "journal", lambda _event: None)
    folder = ShareFolder(tmp_path / "share", "bucket", "", bucket, journal, read_only=True)
    folder.refresh(["/"], recursive=True)
    second[0].join()
    assert sorted(file.name for file in folder.path.iterdir()) == ["new.txt", "old.txt"]


def test_no_key_leads_out_of_the_share(tmp_path):
    keys = ["../out.txt", "a/../../out.txt", "/etc/out.txt", "a//b.txt", "./c.txt", "in.txt"]
    journal = Journal(tmp_path / "journal", lambda _event: None)
    folder = ShareFolder(tmp_path / "share", "bucket", "", Bucket(keys, lambda: None), journal, read_only=True)
    folder.refresh(["/"], recursive=True)
    assert [file.name for file in folder.path.rglob("*")] == ["in.txt"]
    assert [file.name for file in tmp_path.iterdir()] == ["share"]
