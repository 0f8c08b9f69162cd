"""What an installed wheel holds and runs, and what a checkout adds to it."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from infra.local import command
from raki.commands.operating import NotInstalled

REPOSITORY = Path(__file__).parents[1]
RAKI = Path(sys.executable).parent / "raki"
LICENCES = sorted(path.name for pattern in ("LICENSE*", "NOTICE*") for path in REPOSITORY.glob(pattern))


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The wheel of a copy, since a build leaves folders behind, unpacked as an installer would."""
    folder = tmp_path_factory.mktemp("wheel")
    source, site = folder / "source", folder / "site"
    source.mkdir()
    for name in ("raki", "infra", "lambdas", "containers"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", *LICENCES):
        shutil.copy(REPOSITORY / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def commands(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> set[str]:
    """The commands that `raki --help` names, run anywhere but in the checkout."""
    finished = subprocess.run(
        [*command, "--help"], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    rows = [line.lstrip("│ ").split() for line in finished.stdout.partition("Commands")[2].splitlines()]
    return {row[0] for row in rows if row}


def test_the_wheel_holds_raki_alone_with_all_that_it_needs(installed):
    (described,) = installed.glob("*.dist-info")
    assert {path.name for path in installed.iterdir()} == {"raki", described.name}
    assert {path.name for path in described.glob("licenses/*")} == set(LICENCES)
    for file in (
        "py.typed",
        "models/schema.json",
        *(f"results/templates/{one.name}" for one in REPOSITORY.glob("raki/results/templates/*")),
    ):
        assert (installed / "raki" / file).is_file()


def test_the_installed_wheel_runs_without_the_commands_of_a_checkout(installed, tmp_path):
    """Without `site`, Python follows no path file: an editable install of the checkout is not to be seen."""
    path = os.pathsep.join((str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    start = (sys.executable, "-S", "-c", "from raki.cli import main; main()")
    assert {"reconstruct", "inspect"} <= (found := commands(*start, cwd=tmp_path, environment={"PYTHONPATH": path}))
    assert not {"local", "cost", "preflight"} & found
    for name in ("local", "cost", "preflight"):
        finished = subprocess.run(
            [*start, name], cwd=tmp_path, env={"PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        assert finished.returncode == NotInstalled.exit_code
        said = " ".join((finished.stdout + finished.stderr).split())
        assert said.startswith(
            f"NotInstalled: The command raki {name} is not in the installed package: it needs a checkout"
        )
        assert "Traceback" not in said


def test_without_its_extra_raki_local_says_what_to_install(monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None if name in {"moto", "watchdog"} else name)
    with pytest.raises(NotInstalled, match=re.escape("lacks moto, watchdog: pip install --editable '.[local]'")):
        command.local(once=True)  # which is refused for its want of files, where nothing is missing


def test_an_editable_install_has_the_commands_of_the_checkout(tmp_path):
    assert {"reconstruct", "local", "cost", "preflight"} <= commands(RAKI, cwd=tmp_path)
