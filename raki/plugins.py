"""What packages add to raki by entry points: found, tried, and left out by name where it is broken.

An add-on is other people's code, and a scan must not fail because of one that it doesn't need. Standard library only.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

LOG = logging.getLogger("raki.plugins")
OURS = "raki-mri"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One thing that an entry point names."""

    name: str
    """Of the entry point."""
    package: str
    version: str
    value: Any = None
    """What was loaded; None where it can't be used."""
    why_not: str | None = None
    """Why it can't be used, as the end of a sentence."""

    @property
    def is_ours(self) -> bool:
        """Whether raki itself brings it."""
        return self.package == OURS

    @property
    def origin(self) -> str:
        """The package and its version."""
        return f"{self.package} {self.version}"


@contextmanager
def kept_off_stdout() -> Iterator[None]:
    """Has what other people's code prints go to standard error: standard output is what a command answers.

    For the whole process: not to be entered by several threads at a time.
    """
    with redirect_stdout(sys.stderr):
        yield


@cache
def plugins(group: str, kind: type, *, by_name: bool = False) -> tuple[Plugin, ...]:
    """All that is registered in a group, raki's own first; those that can't be used are logged once.

    Args:
        kind: what each has to be, with a `name`.
        by_name: whether it is asked for by the entry point's name, which then has to be its own.
    """
    found: dict[str, Plugin] = {}
    broken = []
    for point in _ours_first(group):
        plugin = _tried(point, kind)
        name = getattr(plugin.value, "name", None)
        if name in found:
            plugin = _described(point, why_not=f"{found[name].origin} has one called {name}, which stays")
        elif name is not None and by_name and name != point.name:
            plugin = _described(point, why_not=f"it calls itself {name!r}; both names have to be the same")
        if plugin.why_not is None:
            found[str(name)] = plugin
        else:
            broken.append(plugin)
            LOG.warning("%s %r of %s is left out: %s", kind.__name__, plugin.name, plugin.origin, plugin.why_not)
    return (*found.values(), *broken)


def _ours_first(group: str) -> list[EntryPoint]:
    # A checkout and its installation describe the same package twice.
    points = {(point.name, _package(point)): point for point in entry_points(group=group)}
    return sorted(points.values(), key=lambda point: (_package(point) != OURS, _package(point), point.name))


def _tried(point: EntryPoint, kind: type) -> Plugin:
    try:
        with kept_off_stdout():
            value = point.load()
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever somebody else's module raises
        return _described(point, why_not=f"loading it failed ({type(error).__name__})")
    if not isinstance(value, kind):
        return _described(point, why_not=f"it is a {type(value).__name__} where a {kind.__name__} is needed")
    return _described(point, value=value)


def _described(point: EntryPoint, *, value: Any = None, why_not: str | None = None) -> Plugin:
    version = point.dist.version if point.dist else "of unknown version"
    return Plugin(name=point.name, package=_package(point), version=version, value=value, why_not=why_not)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module
