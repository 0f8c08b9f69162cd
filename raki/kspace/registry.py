"""All methods that there are. A method is one module with a `Method`, and one line among the project's entry points."""

from functools import cache
from importlib.metadata import entry_points

from raki.kspace.method import Method


@cache
def methods() -> dict[str, Method]:
    """Methods by their names, the quickest first."""
    found: list[Method] = [point.load() for point in entry_points(group="raki.methods")]
    return {method.name: method for method in sorted(found, key=lambda method: method.seconds_a_slice)}


def find_method(name: str) -> Method:
    """The method of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in methods():
        raise ValueError(f"method is {name!r}; it has to be one of {', '.join(methods())}")
    return methods()[name]
