"""What a file that has taken its reader over might try. Each tells what it reached, or is refused by an OSError."""

import ctypes
import os
import pickle
import resource
import socket
import subprocess
import sys
from pathlib import Path


def nothing() -> None:
    pass


def connect(address: str, port: int) -> str:
    with socket.socket() as connection:
        connection.connect((address, port))
        return "connected"


def send_a_datagram() -> str:
    with socket.socket(type=socket.SOCK_DGRAM) as connection:
        return f"sent {connection.sendto(b'x', ('127.0.0.1', 9))}"


def read(path: str) -> str:
    return Path(path).read_text()[:1000]


def list_folder(path: str) -> str:
    return " ".join(entry.name for entry in Path(path).iterdir())


def look_into(process: int) -> str:
    """ptrace(2), PTRACE_ATTACH."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, process, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
    return "attached"


def own_environment() -> str:
    return " ".join(sorted(os.environ))


def execute() -> str:
    return subprocess.run(
        [sys.executable, "-c", "print('executed')"], capture_output=True, text=True, check=True
    ).stdout


def become_another_program() -> str:
    os.execv(sys.executable, [sys.executable, "-c", "print('executed')"])
    return "executed"


def fork_often() -> str:
    children = 0
    while children < 100:
        if os.fork() == 0:
            os._exit(0)
        children += 1
    return f"{children} children"


def kill(process: int) -> str:
    os.kill(process, 9)
    return "killed"


def write(path: str) -> str:
    Path(path).write_text("escaped")
    return "written"


def remove(path: str) -> str:
    Path(path).unlink()
    return "removed"


def change_mode(path: str) -> str:
    Path(path).chmod(0o777)
    return "changed"


def link(source: str, target: str) -> str:
    Path(target).symlink_to(source)
    return "linked"


def make_a_pipe(path: str) -> str:
    os.mkfifo(path)
    return "made"


def write_a_tebibyte(folder: str) -> str:
    with (Path(folder) / "large").open("wb") as file:
        file.truncate(1 << 40)
    return "written"


def take_privileges() -> str:
    os.setuid(0)
    os.chroot("/")
    return "taken"


def limits_lifted() -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (10**6, 10**6))
    return "lifted"


class Malice:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def answer_with_a_pickle(path: str) -> str:
    # Past our own words, into the pipe itself: whoever took over a reader isn't bound by its code.
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, pickle.dumps(Malice(path)))
        except OSError:
            continue
    return "answered"


def devour() -> int:
    return len([bytearray(1 << 28) for _ in range(100)])


def compute_for_ever() -> None:
    while True:
        pass
