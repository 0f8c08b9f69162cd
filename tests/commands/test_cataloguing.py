"""`raki catalogue` says what the library finds, in tables, JSON and files, and each refusal has its exit code."""

import csv
import json

import pyarrow.parquet as pq
import pytest

from tests.catalogue.delivered import deliver


@pytest.fixture
def here(tmp_path, monkeypatch):
    for number in range(2):
        deliver(
            tmp_path, f"scan{number}", scan_id=f"scan-{number}", acceleration=3 + number, standard_error=0.1 * number
        )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_questions_are_answered(run, here):
    code, said, _ = run("catalogue", "query", "SELECT scan_id, acceleration FROM scans ORDER BY ALL", "--json")
    assert code == 0
    assert json.loads(said) == [{"scan_id": "scan-0", "acceleration": 3}, {"scan_id": "scan-1", "acceleration": 4}]
    code, said, _ = run("catalogue", "compact")
    assert (code, said.split(";")[0]) == (0, "2 results taken in, 0 taken out")
    code, said, _ = run(
        "catalogue",
        "find",
        "--field-strength",
        3,
        "--acceleration",
        ">=4",
        "--worst",
        "standard_error",
        "-w",
        "image=<2",
    )
    assert code == 0
    assert said.count("scan-1") == 2
    assert "scan-0" not in said
    code, said, _ = run("catalogue", "find", "--like", "scan-0:1", "--limit", 2, "--json")
    assert [row["image"] for row in json.loads(said)] == [1, 1]
    code, said, _ = run("catalogue", "columns", "--json")
    assert {"slices", "labels"} == json.loads(said).keys()
    assert run("catalogue", "columns")[0] == 0


def test_labels_and_cohorts(run, here):
    (here / "labels.csv").write_text("scan_id,image,label,value\nscan-1,2,motion,severe\n")
    code, said, _ = run("catalogue", "label", "labels.csv", "--by", "ada")
    assert (code, said) == (0, "1 labels added, 0 were there\n")
    code, said, _ = run("catalogue", "export", "cohort.parquet", "--label", "motion")
    assert (code, said) == (0, "cohort.parquet: 1 images\n")
    assert pq.read_table(here / "cohort.parquet").column("labels").to_pylist() == [["motion=severe"]]
    assert run("catalogue", "export", "cohort.csv")[0] == 0
    with (here / "cohort.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[5]["folder"] == "scan1"
    assert json.loads(rows[5]["labels"]) == ["motion=severe"]
    assert run("catalogue", "export", "cohort.csv")[0] == 2, "not over what is there"
    assert run("catalogue", "export", "cohort.txt")[0] == 2


def test_refusals_have_codes_of_their_own(run, here):
    code, _, said = run("catalogue", "query", "DROP VIEW slices")
    assert (code, said.partition(":")[0]) == (51, "QueryRefused")
    code, _, said = run("catalogue", "find", "--where", "nothing=4")
    assert code == 51
    code, _, said = run("catalogue", "query", "SELECT 1", "-r", here / "none")
    assert (code, said.partition(":")[0]) == (50, "NoCatalogue")
    (here / "labels.csv").write_text("scan_id,label\n" + "".join(f"scan-{number},x\n" for number in range(30)))
    code, _, said = run("catalogue", "label", "labels.csv", "--by", "ada")
    assert code == 52
    assert all(f"no scan scan-{number} " in said + " " for number in range(2, 30)), "all of them are listed"
    assert run("catalogue", "find", "--where", "acceleration")[0] == 2
    assert run("catalogue", "find", "--like", "scan-0")[0] == 2


def test_what_is_damaged_is_named(run, here):
    (here / "scan0/catalogue.jsonl").write_text("{}")
    code, said, why = run("catalogue", "query", "SELECT count(*) AS n FROM slices", "--json")
    assert (code, json.loads(said)) == (0, [{"n": 3}])
    assert "scan0/catalogue.jsonl is passed over: it is empty or cut short" in why


def test_what_is_missing_is_named(run, here, monkeypatch):
    monkeypatch.setattr("raki.commands.cataloguing.find_spec", lambda name: None)
    code, _, said = run("catalogue", "query", "SELECT 1")
    assert code == 35
    assert "raki-mri[catalogue]" in said
