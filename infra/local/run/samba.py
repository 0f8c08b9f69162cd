"""Serves the share's folders by Samba, where that is installed: as a gateway does, to whoever knows this machine."""

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.local.journal import LogStream
from infra.local.run.programs import Program, Programs

SMBD = ("smbd", "/usr/sbin/smbd", "/usr/local/sbin/smbd")
STARTS_WITHIN_S = 15.0
ADDRESS = "127.0.0.1"
# As on AWS: whoever may write drops scans, nobody writes among the results, and names differ by their case.
# An unprivileged port, and every folder of Samba's own below one: it needs no rights and touches no other Samba.
CONFIGURATION = """[global]
server role = standalone server
smb ports = {port}
interfaces = {address}
bind interfaces only = yes
disable netbios = yes
disable spoolss = yes
load printers = no
server min protocol = SMB2
map to guest = Bad User
guest account = {user}
case sensitive = yes
log file = {folder}/smbd.log
lock directory = {folder}/lock
state directory = {folder}/state
cache directory = {folder}/cache
pid directory = {folder}/pid
private dir = {folder}/private
ncalrpc dir = {folder}/ncalrpc
usershare path =
"""
SHARE = """
[{name}]
path = {path}
guest ok = yes
guest only = yes
force user = {user}
read only = {read_only}
"""


class NoSamba(Exception):
    """The share can't be served by SMB; the text says what is missing."""


@contextmanager
def served(
    shares: Path, writable: tuple[str, ...], read_only: tuple[str, ...], folder: Path, port: int
) -> Iterator[int]:
    """Serves folders below `shares` to this machine for the block; gives the port.

    Args:
        shares: the folder that holds one folder for each share.
        writable: names of those that files are dropped in.
        read_only: names of the others.
        folder: Samba's own.
        port: 0 takes a free one.

    Raises:
        NoSamba: smbd is not installed, or doesn't start.
    """
    smbd = next((found for name in SMBD if (found := shutil.which(name))), None)
    if smbd is None:
        raise NoSamba("--smb needs Samba's smbd, which is not installed: on Debian, apt-get install samba")
    port = port or _free_port()
    configuration = _configure(shares, writable, read_only, folder, port)
    command = [smbd, "--foreground", "--no-process-group", f"--configfile={configuration}"]
    programs = Programs(folder, lambda _log, _line: None)
    try:
        # A session of its own: smbd ends its whole process group with itself.
        program = programs.start("smbd-output", command, dict(os.environ), folder, LogStream(group="", stream=""))
        _wait_for(program, port, folder)
        yield port
    finally:
        programs.close()


def _configure(shares: Path, writable: tuple[str, ...], read_only: tuple[str, ...], folder: Path, port: int) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("lock", "state", "cache", "pid", "private", "ncalrpc"):
        (folder / name).mkdir(parents=True)
    user = shares.owner()
    text = CONFIGURATION.format(port=port, address=ADDRESS, user=user, folder=folder)
    for name in (*writable, *read_only):
        only_read = "yes" if name in read_only else "no"
        text += SHARE.format(name=name, path=shares / name, user=user, read_only=only_read)
    configuration = folder / "smb.conf"
    configuration.write_text(text, encoding="utf-8")
    return configuration


def _wait_for(program: Program, port: int, folder: Path) -> None:
    deadline_s = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < deadline_s and program.exit_code is None:
        try:
            socket.create_connection((ADDRESS, port), timeout=1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NoSamba(
        f"smbd has not started on port {port}; {folder / 'smbd-output.log'} and {folder / 'smbd.log'} say why"
    )


def _free_port() -> int:
    with socket.create_server((ADDRESS, 0)) as server:
        port: int = server.getsockname()[1]
        return port
