"""Formats of other packages: whatever goes wrong in one is named as theirs, and keeps no other from being tried."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from traceback import walk_tb

from raki.errors import DamagedScan, RakiError
from raki.formats.acquisitions import Acquisitions, Format
from raki.plugins import Plugin

LOG = logging.getLogger("raki.plugins")


def guarded(plugin: Plugin) -> Format:
    """A format that recognises nothing where it fails to look, and whose errors are a scan's."""
    known: Format = plugin.value

    def recognises(start: bytes) -> bool:
        try:
            return bool(known.recognises(start))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever somebody else's module raises
            LOG.warning("format %s of %s can't look at a file: %s", plugin.name, plugin.origin, type(error).__name__)
            return False

    @contextmanager
    def opened(path: Path) -> Iterator[Acquisitions]:
        try:
            with known.open(path) as acquisitions:
                yield acquisitions
        except RakiError:
            raise
        except (Exception, SystemExit) as error:
            if not _is_of(error, known):
                raise
            raise DamagedScan(
                f"the format {known.name} of {plugin.origin} failed with {type(error).__name__}; tell those who made "
                "it, or export the scan in another format"
            ) from None

    return replace(known, recognises=recognises, open=opened)


def _is_of(error: BaseException, known: Format) -> bool:
    """Whether the format's own package takes part in an error, or only those who read what it gave."""
    theirs = known.open.__module__.partition(".")[0]
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__))
    return any(module.partition(".")[0] == theirs for module in modules)
