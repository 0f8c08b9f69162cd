"""Finds parts of moto by name, and says so where they are gone."""

import importlib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeAlias

Replacement: TypeAlias = tuple[str, Callable[[Any], Any]]
"""A part of moto, and the function that makes of it what takes its place."""
PINNED = "5.2.5"


class MotoChanged(RuntimeError):
    """The installed moto isn't the one that the local cloud adapts."""


def find(path: str) -> Any:
    """What stands at "module:attribute.attribute".

    Raises:
        MotoChanged: it isn't there.
    """
    module_name, _, attributes = path.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
        for name in attributes.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError):
        raise MotoChanged(
            f"moto {version('moto')} has no {path}; the local cloud adapts moto {PINNED}: "
            f"install moto[server]=={PINNED}"
        ) from None
    return found
