"""A scan is found by what a person calls it, and never another one."""

from datetime import UTC, datetime, timedelta

import pytest

from raki.service.record import ScanRecord, State
from raki.service.scan_paths import AmbiguousScan, NoSuchScan, find_scan

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def scan(scan_id, raw_key, folder, minutes=0):
    at = {State.ARRIVED: NOW + timedelta(minutes=minutes)}
    return ScanRecord(
        scan_id=scan_id, state=State.ARRIVED, raw_key=raw_key, results_folder=folder, n_bytes=1, entered_at=at
    )


SCANS = [
    scan("id-root", "a.h5", "a"),
    scan("id-site", "site/a.h5", "site/a"),
    scan("id-packed", "site/a.tar.gz", "site/a.tar.gz", 1),
    scan("id-old", "site/b.h5", "site/b", 2),
    scan("id-new", "site/b.h5", "site/b", 1),
    scan("id-token", "Mustermann/Max 1.h5", "0123456789abcdef0123"),
]


@pytest.mark.parametrize(
    ("named", "scan_id"),
    [
        ("id-site", "id-site"),
        ("a.h5", "id-root"),
        ("a", "id-root"),
        ("raw/a.h5", "id-root"),
        ("/mnt/share/raw/a.h5", "id-root"),
        ("site/a.h5", "id-site"),
        ("site/a.tar.gz", "id-packed"),
        ("results/site/a.tar.gz", "id-packed"),
        ("share/results/site/a.tar.gz/", "id-packed"),
        ("share/results/site/b/report.html", "id-new"),
        (r"Z:\raw\site\b.h5", "id-new"),
        ("Mustermann/Max 1", "id-token"),
        ("results/0123456789abcdef0123/error.html", "id-token"),
    ],
)
def test_by_id_by_path_on_either_side_with_or_without_its_ending(named, scan_id):
    assert find_scan(named, SCANS, lambda record: record.scan_id != "id-old").scan_id == scan_id


def test_of_versions_none_of_which_has_the_folder_the_newest_is_meant():
    assert find_scan("site/b.h5", SCANS, lambda _record: False).scan_id == "id-old"


@pytest.mark.parametrize("named", ["c.h5", "other/a.h5", "ite/a.h5", "id-", "raw/other/a.h5", "", "site"])
def test_nothing_that_only_looks_like_it(named):
    with pytest.raises(NoSuchScan, match="the ledger knows no scan"):
        find_scan(named, SCANS, lambda _record: True)


def test_who_may_be_meant_is_named():
    with pytest.raises(AmbiguousScan, match=r"'site/a' may be site/a\.h5, site/a\.tar\.gz: give the whole name"):
        find_scan("site/a", SCANS, lambda _record: True)
