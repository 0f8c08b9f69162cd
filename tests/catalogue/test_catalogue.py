"""Questions are answered from the rows that count, and by nothing that could write or read anything else."""

import os
import shutil
import time

import pytest

import raki.catalogue
from raki.catalogue import NoCatalogue, QueryRefused, compact, import_labels
from raki.catalogue import catalogue as catalogue_of_folder
from raki.catalogue.index import FOLDER, survey
from tests.catalogue.delivered import deliver


@pytest.fixture
def root(tmp_path):
    """Four results of three images each."""
    for number in range(4):
        deliver(
            tmp_path / "results", f"site{number % 2}/scan{number}",
            scan_id=f"scan-{number}", acceleration=2 + number,
            field_strength_t=(2.89, 1.494)[number % 2], standard_error=0.1 * number,
            vendor=("SIEMENS", "GE")[number % 2],
        )  # fmt: skip
    return tmp_path / "results"


def ids(root):
    with raki.catalogue.open(root) as opened:
        found = opened.query("SELECT result_id, acceleration, count(*) AS n FROM slices GROUP BY ALL ORDER BY ALL")
        return [(row["result_id"], row["acceleration"], row["n"]) for row in found.to_pylist()]


FOUR = [(f"scan-{number}", 2 + number, 3) for number in range(4)]


@pytest.mark.parametrize("compacted", [False, True], ids=["fresh", "compacted"])
def test_images_are_found_by_name(root, compacted):
    if compacted:
        compact(root)
    with raki.catalogue.open(root) as opened:

        def found(**conditions):
            return [(row["scan_id"], row["image"]) for row in opened.find(**conditions).to_pylist()]

        assert len(found()) == 12
        assert {scan for scan, _ in found(field_strength_t=3)} == {"scan-0", "scan-2"}
        assert {scan for scan, _ in found(field_strength_t=1.5, acceleration=">=4")} == {"scan-3"}
        assert {scan for scan, _ in found(acceleration="3..4")} == {"scan-1", "scan-2"}
        assert {scan for scan, _ in found(vendor="siemens", image="0")} == {"scan-0", "scan-2"}
        assert {scan for scan, _ in found(worst="standard_error", limit=3)} == {"scan-3"}
        assert {scan for scan, _ in found(best="standard_error", limit=3)} == {"scan-0"}
        assert found(protocol="no such word") == []
        alike = opened.find(like=("scan-1", 2), limit=4).to_pylist()
        assert {row["image"] for row in alike} == {2}, "the same image of all four"
        assert alike[0]["distance"] == pytest.approx(0, abs=1e-5)
        assert opened.query("SELECT count(*) AS n FROM scans").to_pylist() == [{"n": 4}]
        assert opened.query("SELECT count(*) AS n FROM slices WHERE image = ?", [1]).to_pylist() == [{"n": 4}]
        cohort = opened.cohort(acceleration="2")
        assert cohort.column("folder").to_pylist() == ["site0/scan0"] * 3
        assert cohort.column("prepared_key").to_pylist() == ["scans/scan-0.h5"] * 3
        assert opened.folder_of("scan-1") == root / "site1/scan1"


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"no_such": "1"}, "no column 'no_such'"),
        ({"acceleration": "four"}, "no condition on the number acceleration"),
        ({"acceleration": "4; DROP VIEW slices"}, "no condition"),
        ({"position_mm": "4"}, "raki catalogue query"),
        ({"worst": "vendor"}, "no column of numbers"),
        ({"worst": 'mean" DESC; DROP VIEW slices'}, "no column of numbers"),
    ],
)
def test_a_condition_that_is_none_is_refused(root, conditions, says):
    with raki.catalogue.open(root) as opened, pytest.raises(QueryRefused, match=says):
        opened.find(**conditions)


HOSTILE = [
    "INSERT INTO slices SELECT * FROM slices",
    "DELETE FROM fresh",
    "DROP VIEW slices",
    "CREATE TABLE t AS SELECT 1",
    "SELECT 1; SELECT 2",
    "COPY slices TO '{out}'",
    "COPY (SELECT 1) TO '{out}'",
    "EXPORT DATABASE '{out}'",
    "ATTACH '{out}' AS x",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "INSTALL httpfs",
    "LOAD json",
    "PRAGMA database_list",
    "CALL enable_logging()",
    "EXPLAIN ANALYZE SELECT 1",
    "PREPARE p AS SELECT 1",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM read_text('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM read_blob('{secret}')",
    "SELECT * FROM read_parquet('{other}')",
    "SELECT * FROM glob('{root}/*')",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM read_json('{secret}')",
    "SELECT * FROM parquet_schema('{other}')",
    "SELECT * FROM enable_logging(storage = 'file', storage_path = '{out}')",
    "SELECT * FROM read_text('{root}/../secret.txt')",
    "WITH x AS (INSERT INTO fresh SELECT * FROM fresh RETURNING *) SELECT * FROM x",
    "SELECT nonsense FROM slices",
    "SELECT * FROM secret_of_python",
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT",
    "",
    "SELECT * FROM query('DROP VIEW slices')",
]


def test_a_question_writes_nothing_and_reads_no_other_file(root, tmp_path):
    secret, other, out = tmp_path / "secret.txt", tmp_path / "other.parquet", tmp_path / "out"
    compact(root)
    secret.write_text("a secret\n")
    shutil.copy(next((root / FOLDER).glob("slices/*/*.parquet")), other)
    secret_of_python = [1]  # noqa: F841
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with raki.catalogue.open(root) as opened:
        for sql in HOSTILE:
            with pytest.raises(QueryRefused):
                pytest.fail(f"{sql}: {opened.query(sql.format(secret=secret, other=other, out=out, root=root))}")
        assert opened.query("SELECT count(*) AS n FROM slices").to_pylist() == [{"n": 12}]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_result_that_is_made_again_counts_once(root):
    compact(root)
    assert ids(root) == FOUR
    deliver(root, "site0/scan2", scan_id="scan-2", acceleration=9)
    again = [*FOUR[:2], ("scan-2", 9, 3), FOUR[3]]
    assert ids(root) == again, "at once"
    done = compact(root)
    assert (done.n_results, done.n_gone) == (1, 1)
    assert ids(root) == again, "and after compaction"
    assert compact(root).n_results == 0


def test_a_result_that_takes_the_place_of_another_scan_or_month_takes_its_rows_too(root):
    compact(root)
    deliver(root, "site0/scan2", scan_id="scan-9", acceleration=9, created_utc="2031-02-03T00:00:00+00:00")
    expected = [*FOUR[:2], FOUR[3], ("scan-9", 9, 3)]
    assert ids(root) == expected
    compact(root)
    assert ids(root) == expected
    assert len(list((root / FOLDER).glob("slices/*"))) == 2


def test_a_result_that_is_gone_or_unfinished_counts_no_more(root):
    compact(root)
    shutil.rmtree(root / "site0/scan0")
    (root / "site1/scan1/manifest.json").unlink()
    assert ids(root) == FOUR[2:]
    assert compact(root).n_gone == 2
    assert ids(root) == FOUR[2:]


def test_of_a_result_that_lies_in_two_places_the_newest_counts(root):
    deliver(root, "copy", scan_id="scan-1", acceleration=7, created_utc="2040-01-01T00:00:00+00:00")
    assert ids(root)[1] == ("scan-1", 7, 3)
    compact(root)
    assert ids(root)[1] == ("scan-1", 7, 3)


def test_the_same_rows_are_the_same_file_and_only_what_changed_is_written(root):
    compact(root)
    parts = {path: path.stat().st_mtime_ns for path in (root / FOLDER).glob("slices/*/*.parquet")}
    deliver(root, "later", scan_id="scan-7", created_utc="2031-05-01T00:00:00+00:00")
    compact(root)
    now = {path: path.stat().st_mtime_ns for path in (root / FOLDER).glob("slices/*/*.parquet")}
    assert parts.items() < now.items()


def break_part(root):
    part = next((root / FOLDER).glob("slices/*/*.parquet"))
    part.write_bytes(part.read_bytes()[:-20])
    return part.relative_to(root).as_posix()


def break_index(root):
    (root / FOLDER / "index.json").write_text('{"schema": "raki.catalogue-index/1", "parts": ["../../x"]}')
    return f"{FOLDER}/index.json"


def break_labels(root):
    path = root / FOLDER / "labels/month=2026-01/x.parquet"
    path.parent.mkdir(parents=True)
    path.write_text("no parquet")
    return path.relative_to(root).as_posix()


def break_rows(root):
    path = deliver(root, "bad", scan_id="scan-8") / "catalogue.jsonl"
    path.write_text("{}")
    return path.relative_to(root).as_posix()


@pytest.mark.parametrize("damage", [break_part, break_index, break_labels, break_rows])
def test_what_is_damaged_is_named_and_passed_over_and_compaction_makes_it_good(root, damage):
    compact(root)
    broken = damage(root)
    with raki.catalogue.open(root) as opened:
        assert list(opened.damaged) == [broken]
    assert ids(root) == FOUR, "what lies beside the results serves instead"
    compact(root)
    assert ids(root) == FOUR
    if damage in (break_part, break_index):
        with raki.catalogue.open(root) as opened:
            assert opened.damaged == {}


def say(root, tmp_path, image):
    (tmp_path / "labels.csv").write_text(f"scan_id,image,label\nscan-0,{image},motion\n")
    import_labels(root, tmp_path / "labels.csv", made_by="ada")


def test_a_catalogue_that_is_open_while_a_compaction_takes_its_files_away_answers_on(root, tmp_path):
    compact(root)
    say(root, tmp_path, 0)
    say(root, tmp_path, 1)
    with raki.catalogue.open(root) as opened:
        deliver(root, "later", scan_id="scan-7")
        compact(root)
        assert opened.query("SELECT count(*) AS n FROM labels").to_pylist() == [{"n": 2}]
        assert opened.query("SELECT count(*) AS n FROM scans").to_pylist() == [{"n": 5}]
        deliver(root, "latest", scan_id="scan-8")
        compact(root)
        cohort = opened.cohort()
        assert cohort.num_rows == 18
        assert cohort.column("folder").null_count == 0
        assert opened.damaged == {}
        with pytest.raises(QueryRefused, match="no_such_table"):
            opened.query("SELECT * FROM no_such_table")


@pytest.mark.parametrize("reads", ["survey", "readable_parquet"])
def test_a_compaction_between_two_looks_of_a_reader_costs_it_nothing(root, tmp_path, monkeypatch, reads):
    compact(root)
    say(root, tmp_path, 0)
    say(root, tmp_path, 1)
    deliver(root, "later", scan_id="scan-7")
    as_ever = getattr(catalogue_of_folder, reads)

    def look(*arguments):
        found = as_ever(*arguments)
        with monkeypatch.context() as patch:
            patch.setattr(catalogue_of_folder, reads, as_ever)
            compact(root)
        return found

    monkeypatch.setattr(catalogue_of_folder, reads, look)
    with raki.catalogue.open(root) as opened:
        assert opened.damaged == {}
        assert opened.query("SELECT count(*) AS n FROM labels").to_pylist() == [{"n": 2}]
        assert opened.query("SELECT count(*) AS n FROM scans").to_pylist() == [{"n": 5}]


def test_a_compaction_that_is_killed_changes_nothing(root, monkeypatch):
    compact(root)
    deliver(root, "site0/scan2", scan_id="scan-2", acceleration=9)
    expected = ids(root)
    with monkeypatch.context() as patch:

        def killed(*_arguments):
            raise KeyboardInterrupt

        patch.setattr("raki.catalogue.folder_compaction.write_index", killed)
        with pytest.raises(KeyboardInterrupt):
            compact(root)
    assert ids(root) == expected
    compact(root)
    assert ids(root) == expected
    assert len(list((root / FOLDER).glob("slices/*/*.parquet"))) == 1


def test_a_share_is_asked_for_many_folders_at_a_time(root, monkeypatch):
    for number in range(40):
        deliver(root, f"deep/er/{number}/still", scan_id=f"deep-{number}")
    as_ever, waiting, most = os.scandir, set(), []

    def slow(path):
        waiting.add(path)
        most.append(len(waiting))
        time.sleep(0.005)
        waiting.remove(path)
        return as_ever(path)

    monkeypatch.setattr("raki.catalogue.index.os.scandir", slow)
    found = survey(root)
    assert len(found.standing) == 44
    assert list(found.standing) == sorted(found.standing)
    assert max(most) > 8


def test_hidden_folders_and_links_are_passed_over(root, tmp_path):
    deliver(root, ".raki-xyz/s", scan_id="hidden")
    deliver(tmp_path / "elsewhere", "s", scan_id="linked")
    (root / "link").symlink_to(tmp_path / "elsewhere")
    assert ids(root) == FOUR
    assert len(survey(root).standing) == 4


def test_where_there_is_no_folder_a_sentence_says_so(tmp_path):
    for asked in (raki.catalogue.open, compact):
        with pytest.raises(NoCatalogue, match="no folder"):
            asked(tmp_path / "none")
