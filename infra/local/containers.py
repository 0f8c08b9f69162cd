"""A process that stands for a container: the image's entry point, in a folder and an environment of its own."""

import shutil
import site
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.local import assembly
from infra.local.account import program_environment
from infra.local.programs import LogStream, Program, Programs

_PYTHONS = ("python", "python3")


@dataclass(frozen=True, kw_only=True)
class ContainerRequest:
    """What a task or job definition asks for."""

    name: str
    """For the log files."""
    image: str
    command: Sequence[str] | None
    """None is the image's own."""
    environment: Mapping[str, str]
    mounts: Mapping[str, str]
    """Path inside the container, and the name of the volume that stands there."""
    log: LogStream


class Containers:
    """Starts containers of one assembly's images.

    Network, memory, user and read-only root are not modelled: a process has those of whoever runs the local cloud.
    """

    def __init__(self, assembly_path: Path, work: Path, programs: Programs, endpoint: str) -> None:
        self._assembly = assembly_path
        self._work = work / "containers"
        self._work.mkdir(parents=True, exist_ok=True)
        self._programs = programs
        self._endpoint = endpoint

    def start(self, request: ContainerRequest) -> Program:
        """Starts one container.

        Raises:
            UnknownImage: the image isn't the assembly's.
            OSError: its entry point can't be started.
        """
        image = assembly.image(self._assembly, request.image)
        folder = Path(tempfile.mkdtemp(prefix="container-", dir=self._work))
        for part in ("root", "tmp", "volumes"):
            (folder / part).mkdir()
        mounts = {path: folder / "volumes" / volume for path, volume in request.mounts.items()}
        for volume in mounts.values():
            volume.mkdir(exist_ok=True)
        own = {"TMPDIR": str(folder / "tmp"), **image.environment, **request.environment}
        environment = program_environment(self._endpoint, {name: _mounted(own[name], mounts) for name in own})
        environment["PYTHONPATH"] = isolated_path(image.directory)
        command = request.command if request.command is not None else image.command
        argv = [*python_without_site(image.entry_point), *(_mounted(part, mounts) for part in command)]
        return self._programs.start(
            request.name, argv, environment, folder / "root", request.log, on_end=lambda: shutil.rmtree(folder, True)
        )


def python_without_site(argv: Sequence[str]) -> list[str]:
    """`argv` with this environment's Python, started so that only what PYTHONPATH names can be imported.

    An editable installation of this repository would otherwise stand in for a module that the image or the archive
    of a Lambda lacks, and only AWS would notice.
    """
    if argv[0] in _PYTHONS:
        return [sys.executable, "-S", *argv[1:]]
    return list(argv)


def isolated_path(code: Path) -> str:
    """PYTHONPATH of the deployed code and the installed packages."""
    return ":".join([str(code), *site.getsitepackages()])


def _mounted(value: str, mounts: Mapping[str, Path]) -> str:
    """A process can't have a volume at a path of its own; what names the path is told the volume's folder instead."""
    for path, volume in mounts.items():
        if value == path or value.startswith(path.rstrip("/") + "/"):
            return str(volume) + value[len(path.rstrip("/")) :]
    return value
