"""Formats of other packages: whatever goes wrong in one is named as theirs, and keeps no other from being tried."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np

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
                yield _Checked(acquisitions, plugin)
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


class _Checked:
    """Acquisitions whose samples are those that their heads announce: others would be spread over all coils, unseen."""

    def __init__(self, given: Acquisitions, plugin: Plugin) -> None:
        self._given, self._plugin = given, plugin
        self.header_xml, self.heads = given.header_xml, given.heads

    def __getattr__(self, name: str) -> Any:
        return getattr(self._given, name)

    def samples(self, wanted: Any) -> Iterator[np.ndarray]:
        for index, block in zip(wanted, self._given.samples(wanted), strict=True):
            head = self.heads[index]
            announced = int(head["active_channels"]), int(head["number_of_samples"])
            if not isinstance(block, np.ndarray) or block.dtype != np.complex64 or block.shape != announced:
                raise DamagedScan(
                    f"the format {self._plugin.value.name} of {self._plugin.origin} gave other samples than its heads "
                    f"announce ({announced[0]} coils by {announced[1]} samples, complex64); tell those who made it"
                )
            yield block


def _is_of(error: BaseException, known: Format) -> bool:
    """Whether the format's own package takes part in an error, or only those who read what it gave."""
    theirs = known.open.__module__.partition(".")[0]
    modules = (str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__))
    return any(module.partition(".")[0] == theirs for module in modules)
