"""Ordinary mistakes, command by command: one sentence, an exit code of its own, and nothing is written."""

import json
import os
import re

import pytest

from raki.errors import NotAScan, PermanentError, TransientError

USAGE = 2
"""Of a wrong call. A scan that can't be used has other codes, a defect 1."""

# {scan} is a raw file, {images} a folder with a file, {locked} a folder in which nothing can be written.
TO = {
    "inspect": "inspect {scan}",
    "reconstruct": "reconstruct {scan} -o {new}",
    "compare": "compare {scan} -o {new}",
    "convert": "convert {scan} {new}.h5",
    "deidentify": "deidentify {scan} {new}.h5 --token-map {map}",
    "reidentify": "reidentify {images} -o {new} --token-map {map}",
    "simulate": "simulate {new}.h5 --slices 1 --coils 2 --matrix 32",
}
NO_INPUT = "does not exist"
A_FILE = "is a file"
A_FOLDER = "is a (folder|directory)"
MISTAKES = {
    "the input is missing": {
        "inspect": ("inspect {gone}", NO_INPUT),
        "reconstruct": ("reconstruct {gone} -o {new}", NO_INPUT),
        "compare": ("compare {gone} -o {new}", NO_INPUT),
        "convert": ("convert {gone} {new}.h5", NO_INPUT),
        "deidentify": ("deidentify {gone} {new}.h5 --token-map {map}", NO_INPUT),
        "reidentify": ("reidentify {gone} -o {new} --token-map {map}", NO_INPUT),
    },
    "a folder where a file is needed": {
        "convert": ("convert {scan} {images}.h5", A_FOLDER),
        "deidentify": ("deidentify {images} {new}.h5 --token-map {map}", A_FOLDER),
        "reidentify": ("reidentify {images} -o {new} --token-map {images}", A_FOLDER),
        "simulate": ("simulate {images}.h5", A_FOLDER),
    },
    "a file where a folder is needed": {
        "reconstruct": ("reconstruct {scan} -o {note}", A_FILE),
        "compare": ("compare {scan} -o {note}/out", A_FILE),
        "reidentify": ("reidentify {note} -o {new} --token-map {map}", A_FILE),
        "convert": ("convert {scan} {note}/copy.h5", "there is no folder"),
        "deidentify": ("deidentify {scan} {note}/copy.h5 --token-map {map}", "there is no folder"),
        "simulate": ("simulate {note}/scan.h5", "there is no folder"),
    },
    "the output can't be written": {
        "reconstruct": ("reconstruct {scan} -o {locked}/out", "not yours to change"),
        "compare": ("compare {scan} -o {locked}", "not yours to change"),
        "convert": ("convert {scan} {locked}/copy.h5", "not yours to change"),
        "deidentify": ("deidentify {scan} {locked}/copy.h5 --token-map {map}", "not yours to change"),
        "deidentify, its map": ("deidentify {scan} {new}.h5 --token-map {locked}/map.json", "not yours to change"),
        "deidentify, its map's folder": ("deidentify {scan} {new}.h5 --token-map {gone}/m", "there is no folder"),
        "reidentify": ("reidentify {images} -o {locked}/out --token-map {map}", "not yours to change"),
        "simulate": ("simulate {locked}/scan.h5", "not yours to change"),
    },
    "something is there already": {
        "convert": ("convert {scan} {note}", "is there already"),
        "deidentify": ("deidentify {scan} {note} --token-map {map}", "is there already"),
        "reidentify": ("reidentify {images} -o {copies} --token-map {map}", "is there already"),
        "simulate": ("simulate {note}", "is there already"),
    },
    "an unknown option": {command: (f"{usual} --metod", "No such option: --metod") for command, usual in TO.items()},
    "an unknown device": {
        command: (f"{TO[command]} --device gpu7", "no device 'gpu7'")
        for command in ("inspect", "reconstruct", "compare")
    },
    "more than the machine holds": {
        "simulate": ("simulate {new}.h5 --slices 256 --coils 128 --matrix 1024 -R 1", "GB of (memory|disk)"),
        "simulate, its lines": ("simulate {new}.h5 --matrix 64 --acs 80", "ask for 0 to 64"),
    },
}
CASES = [
    pytest.param(*call, id=f"{command}: {mistake}")
    for mistake, calls in MISTAKES.items()
    for command, call in calls.items()
]


@pytest.fixture
def places(raw, tmp_path, monkeypatch):
    """What the calls are about; nothing can be written into one of the folders, whoever runs the test."""
    for folder in ("images", "images.h5", "copies", "locked"):
        (tmp_path / folder).mkdir()
    for file in ("note.npz", "images/image.dcm", "copies/image.dcm"):
        (tmp_path / file).write_text("somebody's work")
    may = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not ("locked" in str(path) and mode & os.W_OK) and may(path, mode)
    )
    names = {"new": "new", "gone": "gone", "map": "map.json", "note": "note.npz", "images": "images"}
    return {"scan": raw} | {
        name: tmp_path / file for name, file in (names | {"copies": "copies", "locked": "locked"}).items()
    }


def everything(folder):
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(("call", "says"), CASES)
def test_a_mistake_is_one_sentence_and_nothing_is_written(run, places, tmp_path, call, says):
    before = everything(tmp_path)
    code, out, said = run(*call.format(**places).split())
    text = " ".join(said.replace("│", " ").split())
    assert code == USAGE, text
    assert re.search(says, text), text
    assert "Traceback" not in said
    assert not out
    assert everything(tmp_path) == before


def test_a_wrong_call_and_a_scan_that_cannot_be_used_have_different_codes():
    assert USAGE not in {kind.exit_code for kind in (*PermanentError.__subclasses__(), TransientError)}


def test_several_scans_are_inspected_and_a_bad_one_stops_none(run, raw, tmp_path):
    (tmp_path / "letter.h5").write_text("Dear grandma,")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/scan.h5").write_bytes(raw.read_bytes())
    scans = (raw, tmp_path / "letter.h5", tmp_path / "folder")
    code, said, _ = run("inspect", *scans)
    assert code == NotAScan.exit_code
    assert said.count("Can be reconstructed") == 2
    assert re.search(r"letter.h5\s+Can't be opened.*\(NotAScan,\s+exit\s+code\s+10\)", said, re.DOTALL)
    code, said, _ = run("inspect", *scans, "--json")
    assert code == NotAScan.exit_code
    verdicts = [one["feasibility"]["reconstructable"] for one in json.loads(said)]
    assert verdicts == [True, False, True]
    assert json.loads(said)[1]["files"][0]["name"] == "letter.h5"
    assert run("inspect", raw, raw)[0] == 0
