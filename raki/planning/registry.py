"""All methods that there are. A method is one module with a `Method`, and one line among a package's entry points."""

from raki.errors import BrokenPlugin
from raki.planning.method import Method
from raki.plugins import Plugin, plugins


def methods() -> dict[str, Method]:
    """Methods by their names, the quickest first. Those of other packages that can't be used are left out, and logged.

    >>> import raki
    >>> list(raki.methods())[:4]
    ['zero_filled', 'grappa', 'raki_linear', 'raki']
    """
    found: list[Method] = [plugin.value for plugin in _registered() if plugin.why_not is None]
    return {method.name: method for method in sorted(found, key=lambda method: method.seconds_a_slice)}


def find_method(name: str) -> Method:
    """The method of this name.

    Raises:
        ValueError: there is none.
        BrokenPlugin: another package brings it, and it can't be used.
    """
    known = methods()
    if name in known:
        return known[name]
    for plugin in _registered():
        if plugin.name == name:
            raise BrokenPlugin(
                f"the method {name} of {plugin.origin} can't be used: {plugin.why_not}; mend that package, or choose "
                f"one of {', '.join(known)}"
            )
    raise ValueError(f"method is {name!r}; it has to be one of {', '.join(known)}")


def origin_of(name: str) -> Plugin:
    """The package that brings a method, by the name of one that there is."""
    return next(plugin for plugin in _registered() if plugin.name == name and plugin.why_not is None)


def _registered() -> tuple[Plugin, ...]:
    return plugins("raki.methods", Method, by_name=True)
