"""The status page names every scan that it should and nothing else, whatever they are called."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from raki.errors import Cancelled, NoiseAlone, NotAScan, Superseded
from raki.service import objects
from raki.service.folders import STATUS_KEY
from raki.service.ledger import State
from raki.service.messages import ScanArrived
from raki.service.record import ScanRecord
from raki.service.status_page import MOST, status_page
from tests.service.conftest import arrive

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def scan(folder, state=State.DELIVERED, error=None, minutes=3):
    entered = {State.ARRIVED: NOW - timedelta(minutes=minutes), state: NOW - timedelta(minutes=1)}
    failure = {"failure": error.sentence, "failure_class": error.failure_class} if error else {}
    return ScanRecord(
        scan_id=folder,
        state=state,
        raw_key="not/shown.h5",
        results_folder=folder,
        n_bytes=1,
        entered_at=entered,
        **failure,
    )


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag, name):
        return [attributes[name] for found, attributes in self.tags if found == tag and name in attributes]


def test_results_have_a_picture_that_leads_to_the_report_and_failures_their_sentence():
    page = Page(
        status_page(
            [
                scan("site/a"),
                scan("b", State.RECONSTRUCTED),
                scan("c", State.FAILED, NotAScan("it is a letter")),
                scan("d", State.FAILED, NoiseAlone("a noise scan")),
                scan("e", State.FAILED, Cancelled("ended")),
                scan("f", State.FAILED, Superseded("replaced")),
                scan("g", State.PREPARED),
            ],
            NOW,
        )
    )
    assert page.all("a", "href") == [
        "../site/a/report.html", "../b/report.html", "../c/error.html", "../d/note.html", "../e/error.html",
    ]  # fmt: skip
    assert page.all("img", "src") == ["../site/a/preview.png", "../b/preview.png"]
    for words in ("It is a letter.", "waiting for 60 s", "1 prepared", "1 cancelled", "1 failed", "2 noted"):
        assert words in page.text
    assert "shown.h5" not in page.text, "a file's name may be its patient's; the folder is what the share shows"


def test_names_are_text_and_addresses_lead_to_their_folders():
    name = 'a/<script>alert("x")</script> 100%#?\u202e/d'
    page = Page(status_page([scan(name, State.FAILED, NotAScan("<b>bold</b>"))], NOW))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert "<b>bold</b>" in page.text
    (address,) = page.all("a", "href")
    assert "%3Cscript%3E" in address
    assert not set(' "#?<') & set(address)


def test_nothing_is_loaded_from_elsewhere():
    page = Page(status_page([scan("a")], NOW))
    assert not page.all("link", "href")
    assert not page.all("script", "src")
    assert all(source.startswith("../") for source in page.all("img", "src"))


def test_the_last_scans_are_there_and_no_more_than_the_page_holds(cloud):
    hour = timedelta(hours=1)
    now = datetime.now(UTC)
    for number, ago in enumerate([200 * hour, 30 * hour, 2 * hour, timedelta(minutes=1)]):
        found = ScanArrived(bucket="raw", key=f"{number}.h5", etag="e", version_id=None, n_bytes=1, at=now - ago)
        arrive(cloud.ledger, f"s{number}", found)
        arrive(cloud.ledger, f"s{number}", replace(found))
    assert [record.scan_id for record in cloud.ledger.last_scans(now, MOST)] == ["s3", "s2", "s1"]
    assert [record.scan_id for record in cloud.ledger.last_scans(now, 2)] == ["s3", "s2"]


def test_a_page_is_small():
    longest = NotAScan("long " * 200)
    page = status_page([scan("folder/" * 20, State.FAILED, longest) for _ in range(MOST)], NOW)
    assert len(page) < 200_000


@pytest.mark.parametrize("n", [0, 1])
def test_a_page_of_nothing_says_so(n):
    assert ("No scans" in status_page([scan("a")] * n, NOW)) is (n == 0)


@pytest.mark.parametrize(
    "key", ["raki-status.h5", "RAKI-Status", "raki-status/status.html.h5", "raki-status.tar.gz", "Raki-Catalogue.h5"]
)
def test_no_scan_has_the_pages_place_whatever_it_is_called(cloud, tmp_path, key):
    cloud.s3.put_object(Bucket=cloud.bucket, Key=STATUS_KEY, Body=b"the page")
    at = datetime.now(UTC)
    named = ScanArrived(bucket=cloud.bucket, key=key, etag="e", version_id=None, n_bytes=1, at=at)
    record = arrive(cloud.ledger, "s", named)
    (tmp_path / "report.html").write_text("a result")
    objects.publish(cloud.s3, cloud.bucket, record, [tmp_path / "report.html"], outcome="reconstructed")
    assert cloud.s3.get_object(Bucket=cloud.bucket, Key=STATUS_KEY)["Body"].read() == b"the page"
    assert record.results_folder.casefold() not in ("raki-status", STATUS_KEY, "raki-catalogue")
