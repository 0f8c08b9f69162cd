"""Every command and code of the README is run, here or by the test that is named; every link leads somewhere."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra.deployment import Deployment
from infra.preflight.command import NotReady
from raki.catalogue.errors import NoCatalogue, QueryRefused, UnknownSlices
from raki.commands.operating import NotInstalled
from raki.errors import PermanentError, TransientError
from raki.kspace import methods
from raki.results.sending import PacsBusy, PacsRefused, PacsUnreachable
from raki.service.deployment import NoDeployment
from raki.service.operator import NotPossible, Refused
from raki.service.scan_paths import AmbiguousScan, NoSuchFolder, NoSuchScan

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
FILES = (REPOSITORY / "docs/files.md").read_text(encoding="utf-8")
PAGES = [
    *REPOSITORY.glob("*.md"),
    *(REPOSITORY / "docs").rglob("*.md"),
    REPOSITORY / "infra/README.md",
    REPOSITORY / "benchmarks/README.md",
]

RUN_ELSEWHERE = {
    ".venv/bin/raki local": "tests/test_end_to_end.py",
    ".venv/bin/raki local --once scan1.h5 scan2.tar.gz": "tests/commands/test_cli.py",
    ".venv/bin/raki serve --port 9002": "tests/serving/test_command.py",
    ".venv/bin/raki send out --to ARCHIVE@127.0.0.1:11112": "tests/results/test_sending.py",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line.split(" #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.strip()]


def test_there_is_something_to_run():
    assert "make demo" in COMMANDS
    assert "make test" in COMMANDS
    assert len(blocks("python")) == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_the_makefile_has_it(command):
    subprocess.run([*command.split(), "--dry-run"], cwd=REPOSITORY, capture_output=True, check=True)


def test_the_commands_do_what_is_said(run, monkeypatch, tmp_path):
    mine = [command for command in COMMANDS if not command.startswith("make ") and command not in RUN_ELSEWHERE]
    assert mine
    assert all(command.startswith(".venv/bin/raki ") for command in mine)
    monkeypatch.chdir(tmp_path)
    for command in mine:
        code, _, said = run(*command.split()[1:])
        assert code == 0, said
    assert (tmp_path / "out/report.html").exists()


@pytest.mark.parametrize("test", RUN_ELSEWHERE.values())
def test_what_is_run_elsewhere_is(test):
    assert (REPOSITORY / test).exists()


def test_the_code_runs():
    names: dict = {}
    exec(blocks("python")[0], names)
    kspace, filled, missing = names["kspace"], names["filled"], names["missing"]
    assert filled.shape == kspace.shape
    assert (filled[..., ~missing, :] == kspace[..., ~missing, :]).all()
    assert (filled[..., 1, :] != 0).any()


def test_every_exit_code_is_in_the_table():
    of_the_operator = (
        NoDeployment,
        NoSuchScan,
        AmbiguousScan,
        NotPossible,
        Refused,
        NotInstalled,
        NoSuchFolder,
        NotReady,
        PacsUnreachable,
        PacsRefused,
        PacsBusy,
        NoCatalogue,
        QueryRefused,
        UnknownSlices,
    )
    for kind in [*PermanentError.__subclasses__(), TransientError, *of_the_operator]:
        assert re.search(rf"^\| {kind.exit_code} \| `{kind.__name__}` \|", FILES, re.MULTILINE), kind


def test_the_settings_that_are_named_exist():
    for name in re.findall(r"raki:(\w+)", README + FILES):
        assert name in Deployment.__annotations__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_pictures_and_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


RUNS_PYTHON = {
    "README.md": __file__,
    "docs/tutorial.md": "tests/test_tutorial.py",
    "docs/plugins.md": "tests/test_plugins.py",
    "docs/models.md": "tests/models/test_page.py",
    "docs/catalogue.md": "tests/test_catalogue_page.py",
}
"""The pages that have code in Python, and the test that runs it."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_code_on_any_page_is_run(page):
    name = page.relative_to(REPOSITORY).as_posix()
    has_code = bool(re.search(r"^ *(?:```|~~~) *(?:python|py|pycon)\b", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert has_code == (name in RUNS_PYTHON), "run it in a test, and name that in RUNS_PYTHON"
    if has_code:
        assert name in (REPOSITORY / RUNS_PYTHON[name]).read_text(encoding="utf-8")


def test_every_method_is_named():
    assert all(f"`{name}`" in README for name in methods())
