"""What would be in an image, installed as its Dockerfile says, runs with the packages of its lock and no others."""

import json
import shlex
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass, fields
from importlib.metadata import distribution, entry_points
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_ecs as ecs

from infra.local.deploy import assembly as cloud_assembly
from infra.sources import REPOSITORY, image
from raki.service.settings import CompactSettings, DecompressSettings, ReconstructSettings, SendSettings
from tests.infra.image_files import CUDA, NAMES, copied_to, locked, read_dockerfile

SETTINGS = {
    "compact": CompactSettings,
    "decompress": DecompressSettings,
    "reconstruct": ReconstructSettings,
    "send": SendSettings,
}
every_image = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> dict[str, tuple[cloud_assembly.Image, str]]:
    """What Docker would get to build each image, and the platform it would be built for."""
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("cdk.out")))
    stack = cdk.Stack(app, "Images")
    task = ecs.FargateTaskDefinition(stack, "Task")
    task.add_container("Worker", image=image("decompress", "arm64"))
    task.add_container("Job", image=image("reconstruct"))
    task.add_container("Sender", image=image("send", "arm64"))
    task.add_container("Compactor", image=image("compact", "arm64"))
    out = Path(app.synth().directory)
    found = {}
    for asset in json.loads((out / "Images.assets.json").read_text())["dockerImages"].values():
        (destination,) = asset["destinations"].values()
        read = cloud_assembly.image(out, f"registry/repository:{destination['imageTag']}")
        found[asset["source"]["dockerFile"].split("/")[1]] = read, asset["source"]["platform"]
    return found


def test_an_image_is_built_for_the_architecture_that_it_runs_on(images):
    assert {name: platform for name, (_, platform) in images.items()} == {
        "compact": "linux/arm64",
        "decompress": "linux/arm64",
        "reconstruct": "linux/amd64",
        "send": "linux/arm64",
    }


@every_image
def test_docker_gets_the_code_of_one_image_alone(images, name):
    root = images[name][0].directory
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {str(path.relative_to(REPOSITORY)) for path in REPOSITORY.glob("raki/**/*.py")} <= files
    at_the_root = {file.split("/")[0] for file in files} - {"README.md", "LICENSE", "NOTICE"}
    assert at_the_root == {"raki", "containers", "pyproject.toml"}
    others = tuple(f"containers/{other}/" for other in set(NAMES) - {name})
    assert not [file for file in files if "__pycache__" in file or file.startswith(others)]


@dataclass(frozen=True)
class Container:
    """A Python that has the installed code and the packages of the lock, in an environment of its own."""

    python: Path
    site: Path
    scratch: Path
    entry_point: list[str]
    settings: dict[str, str]

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        folders = {"PYTHONPATH": str(self.site), "HOME": str(self.scratch), "TMPDIR": str(self.scratch)}
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.site,
            env=folders | (self.settings if environment is None else environment),
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        return self.run(*self.entry_point[1:], *arguments, environment=environment)


def install(name: str, context: Path, site: Path) -> None:
    """What the build stage does: the code by its own commands, and the packages as links to those that are here."""
    (command,) = [rest for found, rest in read_dockerfile(name) if found == "RUN" and "README.md" in rest]
    pip = f"{shlex.quote(sys.executable)} -m pip --quiet install --no-index"
    command = command.replace("pip install", pip).replace("/site", shlex.quote(str(site)))
    subprocess.run(command, shell=True, cwd=context, check=True)
    for pattern, folder in copied_to(name, "/site"):
        (site / folder).mkdir(parents=True, exist_ok=True)
        for file in context.glob(pattern):
            shutil.copy(file, site / folder)
    for package in (one for one in locked(name) if not CUDA.match(one)):
        installed = distribution(package)
        for top in {file.parts[0] for file in installed.files} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(installed.locate_file(top))


@pytest.fixture(scope="session")
def containers(images, tmp_path_factory) -> dict[str, Container]:
    python = tmp_path_factory.mktemp("python")
    venv.create(python, symlinks=True)
    found = {}
    for name, (read, _) in images.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / "scratch").mkdir()
        install(name, read.directory, folder / "site")
        found[name] = Container(
            python=python / "bin/python",
            site=folder / "site",
            scratch=folder / "scratch",
            entry_point=read.entry_point,
            settings={field.name.upper(): "1" for field in fields(SETTINGS[name])},
        )
    return found


@every_image
def test_an_image_starts_with_its_lock_alone_and_says_what_it_needs(containers, name):
    finished = containers[name].start("--help", environment={})
    assert (finished.returncode, finished.stderr) == (0, "")
    assert f"containers.{name}" in finished.stdout
    assert [variable for variable in containers[name].settings if variable not in finished.stdout] == []


def test_a_container_that_can_work_is_healthy_and_leaves_nothing_behind(containers):
    finished = containers["decompress"].start("--check")
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "", "")
    assert list(containers["decompress"].scratch.iterdir()) == []


def test_a_container_without_a_setting_says_which(containers):
    container = containers["decompress"]
    environment = {variable: value for variable, value in container.settings.items() if variable != "LEDGER_TABLE"}
    finished = container.start("--check", environment=environment)
    assert finished.returncode == 1
    assert "LEDGER_TABLE" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_container_that_cannot_write_to_scratch_is_ill(containers):
    container = containers["decompress"]
    environment = container.settings | {"TMPDIR": str(container.scratch / "gone")}
    finished = container.start("--check", environment=environment)
    assert finished.returncode == 1
    assert "gone" in finished.stderr


def test_the_worker_reads_every_format_and_has_no_torch(containers):
    """It finds the formats by the entry points of what is installed, which an import of a module doesn't show."""
    probe = (
        "from importlib.metadata import entry_points; from importlib.util import find_spec;"
        "print(*sorted(point.load().__class__ and point.name for point in entry_points(group='raki.formats')));"
        "print(*(name for name in ('torch', 'moto', 'pytest', 'infra', 'lambdas') if find_spec(name)))"
    )
    finished = containers["decompress"].run("-c", probe)
    formats = sorted(point.name for point in entry_points(group="raki.formats"))
    assert finished.stdout.splitlines() == [" ".join(formats), ""], finished.stderr
