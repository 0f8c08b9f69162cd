"""A process that stands for a container: the image's entry point, in a folder and an environment of its own."""

import shutil
import site
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from infra.local.account import program_environment
from infra.local.deploy import assembly
from infra.local.journal import LogStream
from infra.local.run.programs import Program, Programs
from infra.local.share.lustre import MOUNT_POINT

_PYTHONS = ("python", "python3")


@dataclass(frozen=True, kw_only=True)
class Volume:
    """What stands at a path inside a container."""

    name: str
    host_path: str | None
    """The folder of the instance that it is, where it is one; else it begins and ends with the container."""


@dataclass(frozen=True, kw_only=True)
class ContainerRequest:
    """What a task or job definition asks for."""

    name: str
    """For the log files."""
    image: str
    command: Sequence[str] | None
    """None is the image's own."""
    environment: Mapping[str, str]
    mounts: Mapping[str, Volume]
    """Path inside the container, and the volume that stands there."""
    log: LogStream


class Containers:
    """Starts containers of one assembly's images.

    Network, memory, user and what may only be read are not modelled: a process has those of whoever runs the local
    cloud.

    Args:
        file_system: the folder that an instance has at /fsx.
    """

    def __init__(
        self, assembly_path: Path, work: Path, programs: Programs, endpoint: str, *, file_system: Callable[[], Path]
    ) -> None:
        self._assembly = assembly_path
        self._work = work / "containers"
        self._work.mkdir(parents=True, exist_ok=True)
        # What an instance keeps on its disks from one job to the next.
        self._host = work / "host"
        self._file_system = file_system
        self._programs = programs
        self._endpoint = endpoint

    def start(self, request: ContainerRequest) -> Program:
        """Starts one container.

        Raises:
            UnknownImage: the image isn't the assembly's.
            OSError: its entry point can't be started.
            RuntimeError: it wants a file system that isn't there.
        """
        image = assembly.image(self._assembly, request.image)
        folder = Path(tempfile.mkdtemp(prefix="container-", dir=self._work))
        for part in ("root", "tmp", "volumes"):
            (folder / part).mkdir()
        mounts = {path: self._folder_of(volume, folder / "volumes") for path, volume in request.mounts.items()}
        own = {"TMPDIR": str(folder / "tmp"), **image.environment, **request.environment}
        environment = program_environment(self._endpoint, {name: _mounted(own[name], mounts) for name in own})
        environment["PYTHONPATH"] = isolated_path(image.directory)
        command = request.command if request.command is not None else image.command
        argv = [*python_without_site(image.entry_point), *(_mounted(part, mounts) for part in command)]
        return self._programs.start(
            request.name, argv, environment, folder / "root", request.log, on_end=lambda: shutil.rmtree(folder, True)
        )

    def _folder_of(self, volume: Volume, own: Path) -> Path:
        if volume.host_path is None:
            folder = own / volume.name
        elif PurePosixPath(volume.host_path).is_relative_to(MOUNT_POINT):
            folder = self._file_system() / PurePosixPath(volume.host_path).relative_to(MOUNT_POINT)
        else:
            folder = self._host / volume.host_path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def container_mounts(container: Mapping[str, Any], volumes: Sequence[Mapping[str, Any]]) -> dict[str, Volume]:
    """Path inside the container, and volume, of each mount point of a task's or job's container."""
    host_paths = {volume["name"]: (volume.get("host") or {}).get("sourcePath") for volume in volumes}
    return {
        point["containerPath"]: Volume(name=point["sourceVolume"], host_path=host_paths.get(point["sourceVolume"]))
        for point in container.get("mountPoints", [])
    }


def log_stream(container: Mapping[str, Any], default_group: str, name: str) -> LogStream:
    """Where the awslogs driver would write."""
    options = container.get("logConfiguration", {}).get("options", {})
    prefix = options.get("awslogs-stream-prefix", "")
    return LogStream(group=options.get("awslogs-group", default_group), stream=f"{prefix}/{name}" if prefix else name)


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
