"""A process that sees no files but its own, where the kernel has no Landlock: a root folder made of nothing else.

It is the process's own view (user and mount namespaces, Linux 3.8), so that it needs no privilege where the
machine's owner lets users have such. With it go the network and other processes' shared memory.

user_namespaces(7), mount_namespaces(7), mount(2), pivot_root(2).
"""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x08000000, 0x10000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
ST_FLAGS = ((os.ST_NODEV, MS_NODEV), (os.ST_NOSUID, MS_NOSUID), (os.ST_NOEXEC, 8))


def are_there() -> bool:
    """Whether this process may have a view of its own; tried in a child, since there is no way back."""
    child = os.fork()
    if child == 0:
        try:
            _unshare()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def confine(*, readable: Iterable[Path], writable: Iterable[Path], scratch: Path) -> None:
    """From now on nothing is there for this process but these files and folders, under their names.

    Args:
        scratch: where a folder is made over which the view is built; it stays empty.

    Raises:
        OSError: the kernel refused.
    """
    user, group = os.getuid(), os.getgid()
    scratch.mkdir(exist_ok=True)
    _unshare()
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    _mount(None, Path("/"), MS_REC | MS_PRIVATE)
    _mount("tmpfs", scratch, MS_NOSUID | MS_NODEV, kind=b"tmpfs", options=b"size=1m,mode=755")
    for paths, flags in ((readable, MS_RDONLY), (writable, 0)):
        for path in paths:
            _show(path, scratch, flags)
    _mount(None, scratch, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.chdir(scratch)
    # pivot_root(2), "pivot_root(".", ".")": the old root comes to lie upon the new one, and is taken away.
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.syscall({"x86_64": 155, "aarch64": 41}[os.uname().machine], b".", b"."))
    _checked(libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def _show(path: Path, root: Path, flags: int) -> None:
    path = path.resolve()
    if not os.access(path, os.R_OK):
        return
    place = root / path.relative_to("/")
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    elif not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount(str(path), place, MS_BIND)
    # What the machine has switched off at a place has to stay so.
    kept = sum(flag for stays, flag in ST_FLAGS if os.statvfs(path).f_flag & stays)
    _mount(None, place, MS_REMOUNT | MS_BIND | flags | kept)


def _unshare() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC))


def _mount(source: str | None, target: Path, flags: int, *, kind: bytes | None = None, options: bytes = b"") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    named = source.encode(errors="surrogateescape") if source else None
    _checked(libc.mount(named, os.fsencode(target), kind, ctypes.c_ulong(flags), options))


def _checked(answer: int) -> None:
    if answer < 0:
        raise OSError(ctypes.get_errno(), "the kernel didn't give the process a view of its own")
