"""A method of filling k-space, as all of them are registered: one thing with its name, its label, and what it needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from raki.planning.scattered import AnySampling

Fill = Callable[..., tuple[Any, Any]]
"""Fills one slice: `raki.kspace.Fill`, whose types would load torch here."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to fill the missing lines. Methods add themselves by an entry point in the group `raki.methods`."""

    name: str
    """As a user writes it, and as its entry point is called: "grappa"."""
    label: str
    """As a report calls it: "GRAPPA"."""
    fill: Fill
    obstacles: Callable[[AnySampling, int, int], Iterator[str]]
    """What keeps it from filling a sampling with so many ACS lines of so many samples, as ends of a sentence."""
    fills_points: bool = False
    """Whether it fills planes of two phase-encode directions too, in which points are skipped and not lines (3-D)."""
    seconds_a_slice: float
    """About, with 16 coils and 256 x 256 samples on two cores; methods are listed in this order."""


def loaded_when_called(where: str) -> Fill:
    """A function that is imported, and torch with it, once a slice is to be filled.

    Args:
        where: "module:function", as in an entry point.
    """
    module, _, name = where.partition(":")

    def fill(*arguments: Any) -> tuple[Any, Any]:
        filled: tuple[Any, Any] = getattr(import_module(module), name)(*arguments)
        return filled

    return fill
