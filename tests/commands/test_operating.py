"""The operator's commands: tables for people, JSON for programs, and exit codes that say what came of it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from raki.commands.operating import exit_code_of
from raki.errors import NoiseAlone, NotAScan, PermanentError
from raki.service import deployment
from raki.service.messages import ScanArrived
from raki.service.record import Outlet, Reached, Sending, State
from raki.service.renewal import KEPT, Renewal
from raki.service.sending import Sendings
from tests.service import conftest, test_operator

clients, cloud, desk = conftest.clients, conftest.cloud, test_operator.desk


@pytest.fixture
def raki(desk, run, monkeypatch):
    """Runs a command on a deployment with two scans: one waits, one has failed."""
    monkeypatch.setattr(deployment, "find_deployment", lambda **_: desk.operator.deployment)
    dropped = datetime.now(UTC) - timedelta(minutes=3)
    for scan_id, key in (("first", "site/[a].h5"), ("second", "b.h5")):
        scan = ScanArrived(bucket="raw", key=key, etag="e", version_id=None, n_bytes=5, at=dropped)
        conftest.arrive(desk.cloud.ledger, scan_id, scan)
    desk.cloud.ledger.fail("second", NotAScan("it is a letter"))
    return run


def test_status_is_a_table_with_counts_below(raki):
    code, table, _ = raki("status")
    assert code == 0
    rows = table.splitlines()
    assert rows[-1] == "1 arrived, 1 failed"
    assert any("site/[a].h5" in row and "arrived" in row and "waits 3 min" in row for row in rows)
    assert any("b.h5" in row and "NotAScan: It is a letter." in row for row in rows)


def test_status_for_programs_is_one_document_with_what_was_asked_for(raki):
    code, document, _ = raki("status", "--json", "--state", "failed")
    (scan,) = json.loads(document)["scans"]
    assert code == 0
    assert (scan["scan_id"], scan["path"], scan["state"]) == ("second", "b.h5", "failed")
    assert (scan["failure_class"], scan["failure"]) == ("NotAScan", "It is a letter.")
    assert json.loads(document)["counts"] == {"failed": 1}
    assert json.loads(raki("status", "site", "--json")[1])["counts"] == {"arrived": 1}


def test_status_says_when_the_instances_image_was_renewed_where_it_was(raki, desk):
    assert json.loads(raki("status", "--json")[1])["image_renewed"] is None
    at = datetime(2026, 11, 2, 3, tzinfo=UTC)
    desk.operator._books.keep(KEPT, Renewal(asked_s=at.timestamp(), done_s=at.timestamp()).to_json())
    assert raki("status")[1].splitlines()[-1] == "The GPU instances' image was last renewed on 2026-11-02."
    assert json.loads(raki("status", "--json")[1])["image_renewed"] == at.isoformat()


def test_a_state_that_there_is_not_is_named(raki):
    code, _, said = raki("status", "--state", "lost")
    assert code == 2
    assert "there is no state 'lost', but arrived, decompressing" in said


def test_show_tells_all_and_names_the_result(raki, desk):
    code, text, _ = raki("show", "b")
    assert code == 0
    assert "NotAScan" in text
    assert f"s3://{desk.cloud.bucket}/b/" in text
    facts = json.loads(raki("show", "second", "--json")[1])
    assert [entry["state"] for entry in facts["history"]] == ["arrived", "failed"]
    assert facts["quality"] is None


def test_cancel_then_retry(raki, desk, tmp_path):
    scan_id = desk.operator.submit(desk.file(tmp_path, "[c].h5"), "site").scan_id
    assert raki("cancel", "raw/site/[c].h5")[:2] == (0, f"{scan_id}\n")
    assert "1 arrived, 1 failed, 1 cancelled" in raki("status")[1]
    code, _, said = raki("cancel", scan_id)
    assert (code, said) == (33, "NotPossible: The scan is failed already; nothing is left to cancel. ")
    assert raki("retry", scan_id)[:2] == (0, f"{scan_id}\n")
    assert desk.messages() == ["site/[c].h5"]


def test_one_that_is_not_known_has_its_exit_code(raki):
    for command in ("show", "logs", "retry", "cancel"):
        code, _, said = raki(command, "nowhere.h5")
        assert (code, said.partition(":")[0]) == (31, "NoSuchScan")


def test_submit_prints_the_id_by_which_the_scan_is_known(raki, desk, tmp_path):
    file = desk.file(tmp_path, "new.h5")
    code, scan_id, _ = raki("submit", file, "--to", "site")
    assert code == 0
    assert desk.operator.find("site/new.h5", enters=True).scan_id == scan_id.strip()
    code, _, said = raki("submit", file, "--to", "site")
    assert (code, "stands on the share already" in said) == (33, True)
    code, _, said = raki("submit", desk.file(tmp_path, "note.txt"))
    assert (code, "note.txt is no scan by its name" in said) == (2, True)


def test_who_waits_for_a_failure_is_told_by_its_exit_code(raki, desk, tmp_path):
    file = desk.file(tmp_path, "c.h5")
    desk.operator.submit(file)
    desk.cloud.ledger.fail(desk.operator.find("c.h5", enters=True).scan_id, NotAScan("no"))
    assert raki("submit", file, "--force", "--wait")[0] == NotAScan.exit_code


def test_each_failure_has_its_exit_code_and_one_that_is_not_known_has_1():
    assert [exit_code_of(kind.__name__) for kind in PermanentError.__subclasses__() if "raki.errors" in kind.__module__]
    assert (exit_code_of("NotAScan"), exit_code_of("SomethingNew"), exit_code_of("LONGEST_SENTENCE")) == (10, 1, 1)


def test_what_belongs_to_a_scan_is_there_before_it(raki, desk, tmp_path):
    names = ["a.h5", "a_noise.h5", "b.cfl", "raki.toml", "b.hdr"]
    files = [desk.file(tmp_path, name) for name in names]
    code, document, said = raki("submit", *files, "--json")
    assert code == 0, said
    submitted = {each["path"]: each["scan_id"] for each in json.loads(document)}
    assert list(submitted) == ["b.cfl", "raki.toml", "a_noise.h5", "a.h5", "b.hdr"]
    for path in ("a.h5", "b.hdr"):
        assert desk.operator.find(path, enters=True).scan_id == submitted[path]


def test_a_noise_scan_beside_an_image_is_no_failure_to_who_waits(raki, desk, tmp_path):
    file = desk.file(tmp_path, "noise.h5")
    desk.operator.submit(file)
    desk.cloud.ledger.fail(desk.operator.find("noise.h5", enters=True).scan_id, NoiseAlone("no image"))
    assert raki("submit", file, "--force", "--wait")[0] == 0


def test_of_two_files_of_one_name_none_replaces_the_other(raki, desk, tmp_path):
    (tmp_path / "other").mkdir()
    files = desk.file(tmp_path, "a.h5"), desk.file(tmp_path / "other", "a.h5")
    code, _, said = raki("submit", *files, "--force")
    assert (code, "two of the files are called a.h5" in said) == (2, True)
    assert "Contents" not in desk.cloud.s3.list_objects_v2(Bucket=desk.cloud.bucket)


def noted(desk, reached, reason=""):
    """What the sender notes of a scan that has its result."""
    ledger = desk.cloud.ledger
    for stage, done in ((State.DECOMPRESSING, State.PREPARED), (State.RECONSTRUCTING, State.RECONSTRUCTED)):
        ledger.claim("first", stage, owner="w", lease_s=30)
        ledger.finish("first", done, owner="w")
    ledger.deliver("first")
    sending = Sending(reached=reached, to="ARCHIVE@pacs:104", at=datetime.now(UTC), digest="d", reason=reason)
    assert Sendings(ledger._table._client, desk.cloud.bucket).note(ledger.get("first"), sending)


@pytest.mark.parametrize(
    ("reached", "in_status", "in_show"),
    [
        (Reached.SENT, None, "ARCHIVE@pacs:104 has the images since"),
        (Reached.WAITS, "not sent yet: It is full.", "not yet in ARCHIVE@pacs:104"),
        (Reached.GIVEN_UP, "not sent: It is full.", "(raki retry): It is full."),
    ],
)
def test_what_came_of_sending_is_shown_and_is_no_state_of_the_scan(raki, desk, reached, in_status, in_show):
    noted(desk, reached, "" if reached is Reached.SENT else "It is full.")
    rows = raki("status")[1].splitlines()
    assert rows[-1] == "1 delivered, 1 failed"
    (row,) = [row for row in rows if "[a].h5" in row]
    assert (in_status or "") in row
    assert ("sent" in row) == bool(in_status)
    assert in_show in " ".join(raki("show", "first")[1].split())
    told = json.loads(raki("show", "first", "--json")[1])["archive"]
    assert (told["reached"], told["to"]) == (reached, "ARCHIVE@pacs:104")
    assert json.loads(raki("show", "second", "--json")[1])["archive"] is None


@pytest.mark.parametrize(
    ("reached", "reason", "in_status", "in_show"),
    [
        (Reached.SENT, "", "", "data store d1 has the images since"),
        (Reached.STARTED, "", "", "data store d1 imports them, seen last at"),
        (Reached.WAITS, "It is away.", "not imported yet: It is away.", "not yet in data store d1"),
        (Reached.GIVEN_UP, "It failed.", "not imported: It failed.", "(raki retry), job j1: It failed."),
    ],
)
def test_what_came_of_an_import_is_shown(raki, desk, reached, reason, in_status, in_show):
    noted(desk, Reached.SENT)
    ledger = desk.cloud.ledger
    importing = Sending(reached=reached, to="d1", at=datetime.now(UTC), digest="d", reason=reason, job="j1")
    sendings = Sendings(ledger._table._client, desk.cloud.bucket)
    assert sendings.note(ledger.get("first"), importing, Outlet.HEALTHIMAGING)
    (row,) = [row for row in raki("status")[1].splitlines() if "[a].h5" in row]
    assert in_status in row
    assert ("imported" in row) == bool(in_status)
    shown = " ".join(raki("show", "first")[1].split())
    assert in_show in shown
    assert "job j1" in shown or reached is Reached.WAITS
    told = json.loads(raki("show", "first", "--json")[1])["healthimaging"]
    assert (told["reached"], told["to"], told["job"]) == (reached, "d1", "j1")
