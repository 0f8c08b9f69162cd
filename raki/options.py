"""What a reconstruction can be asked for: the options, what each may be, and a scan's own in a `raki.toml`.

They have the same names wherever they are set: as a deployment's settings, in a scan's `raki.toml`, on the command
line. Standard library only: the worker without torch and the synthesis of a deployment ask here too.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.metadata import entry_points
from typing import Any

from raki.errors import WrongOptions
from raki.names import OPTIONS_FILE

Value = str | int | bool

COMBINATIONS = ("rss", "adaptive")
"""How coils become one magnitude image: root sum of squares, or with the sensitivities that the images show."""

# NAME, NAME@VERSION, NAME@sha256:DIGEST or all three. No dot or slash in a name: it is that of a folder.
_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?)"
    r"(?:@(?P<version>[0-9]{1,6}(?:\.[0-9]{1,6}){0,2}))?"
    r"(?:@sha256:(?P<digest>[0-9a-f]{64}))?"
)
NO_MODEL = "none"
MISMATCHES = ("refuse", "own")
"""What becomes of a scan that a model isn't for: it is refused, or reconstructed by its own calibration."""

# More coils than any receiver has; seeds that every generator of random numbers takes.
LARGEST = {"coils": 1024, "seed": (1 << 32) - 1}
SWITCHES = ("maps", "weights", "quantities", "kspace", "explain")
LARGEST_FILE_BYTES = 16 << 10
_TABLE = "reconstruction"
_PLACE = f"the scan's {OPTIONS_FILE}"
_REMEDY = "correct it and try the scan again"


def method_names() -> list[str]:
    """The methods that are installed, by the names of their entry points: to load one is to load torch."""
    return sorted(set(entry_points(group="raki.methods").names))


@dataclass(frozen=True, kw_only=True)
class Options:
    """One value for each option. Raises ValueError where one isn't allowed; the message says what is."""

    method: str = "raki"
    """What fills in the lines that were not acquired."""
    combine: str = "rss"
    """One of `COMBINATIONS`."""
    coils: int = 0
    """To how many virtual coils the coils are compressed before filling; 0: all are used as they are."""
    seed: int = 0
    """Of the training: the same seed gives the same bits on the same device."""
    maps: bool = True
    """Whether maps of g-factor and standard error are made, of a method that makes them."""
    weights: bool = False
    """Whether the weights of the kernels stand beside the images, of a method that has one."""
    quantities: bool = False
    """Whether phase, signal-to-noise and maps are DICOM series too, in true units."""
    kspace: bool = False
    """Whether the filled k-space of all coils stands beside the images."""

    explain: bool = False
    """Whether it is told where the brightness of each pixel comes from, of a method that begins linearly."""

    model: str = NO_MODEL
    """The name of a model (`raki.models`), whose weights fill what can't be calibrated, or what they fill better; its
    version and digest may follow. `NO_MODEL`: none. Its method goes before `method`."""
    mismatch: str = "refuse"
    """One of `MISMATCHES`."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if wanted := needed_instead(name, value):
                raise ValueError(f"{name} is {value!r}; {wanted}")


NAMES = tuple(field.name for field in fields(Options))


def reference(text: str) -> tuple[str, str | None, str | None] | None:
    """Name, version and digest of a model, as far as they are said; None where the text is no name of one."""
    found = _REFERENCE.fullmatch(text)
    return None if found is None else (found["name"], found["version"], found["digest"])


def needed_instead(option: str, value: object) -> str | None:
    """What an option needs instead of `value`, as the end of a sentence; None where the value will do."""
    if option in LARGEST:
        # A truth value is an int too, and means something else.
        fits = type(value) is int and 0 <= value <= LARGEST[option]
        return None if fits else f"a whole number from 0 to {LARGEST[option]} is needed"
    if option in SWITCHES:
        return None if isinstance(value, bool) else "true or false is needed"
    if option == "model":
        is_one = isinstance(value, str) and reference(value) is not None
        return None if is_one else f"NAME, NAME@VERSION or NAME@sha256:DIGEST of a model, or {NO_MODEL}, is needed"
    if option == "mismatch":
        return None if value in MISMATCHES else f"one of {', '.join(MISMATCHES)} is needed"
    choices = method_names() if option == "method" else COMBINATIONS
    return None if value in choices else f"one of {', '.join(choices)} is needed"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The options of one reconstruction, and who set each."""

    options: Options
    set_by: Mapping[str, str]
    """Option -> who says so: "default", "deployment", "raki.toml" or "command line"."""

    def n_virtual_coils(self, n_coils: int) -> int | None:
        """To how many coils a scan's are compressed; None: all are used as they are.

        A deployment's number is a cap, and scans with fewer coils keep theirs.

        Raises:
            WrongOptions: the scan's own `raki.toml` asks for more coils than the scan has.
        """
        wanted = self.options.coils
        if wanted > n_coils and self.set_by["coils"] == OPTIONS_FILE:
            raise WrongOptions(
                f"in {_PLACE} {_TABLE}.coils is {wanted} and the scan has {n_coils} coils; a whole number from 0, "
                f"which stands for all of them, to {n_coils} is needed: {_REMEDY}"
            )
        return wanted if 0 < wanted <= n_coils else None


def choose(said: Mapping[str, Mapping[str, Value]]) -> Chosen:
    """The options that several have something to say about, by who says so; the last one who names an option counts.

    Raises:
        ValueError: an option is unknown, or a value isn't allowed.
    """
    values: dict[str, Any] = asdict(Options())
    set_by = dict.fromkeys(values, "default")
    for who, some in said.items():
        values.update(some)
        set_by.update(dict.fromkeys(some, who))
    if unknown := values.keys() - set(NAMES):
        raise ValueError(f"{', '.join(sorted(unknown))} is no option; those are {', '.join(NAMES)}")
    return Chosen(options=Options(**values), set_by=set_by)


def read_options(content: bytes) -> dict[str, Value]:
    """The options that a `raki.toml` sets, all of them allowed; none where it is empty.

    Raises:
        WrongOptions: it is too large or no TOML, has a key that there isn't, or a value that isn't allowed.
    """
    document = _parsed(content)
    for key, value in document.items():
        if key != _TABLE or not isinstance(value, dict):
            raise WrongOptions(
                f"{_PLACE} has {_key(key)} at its top, where [{_TABLE}] is the one table that is allowed: {_REMEDY}"
            )
    for key, value in document.get(_TABLE, {}).items():
        if key not in NAMES:
            raise WrongOptions(
                f"{_PLACE} sets {_TABLE}.{_key(key)}, which is no option; those are {', '.join(NAMES)}: {_REMEDY}"
            )
        if wanted := needed_instead(key, value):
            raise WrongOptions(f"in {_PLACE} {_TABLE}.{key} is {_value(value)}; {wanted}: {_REMEDY}")
    return dict(document.get(_TABLE, {}))


def _parsed(content: bytes) -> dict[str, Any]:
    if len(content) > LARGEST_FILE_BYTES:
        raise WrongOptions(f"{_PLACE} has more than {LARGEST_FILE_BYTES} bytes; options need less: {_REMEDY}")
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        reason = "it is not in UTF-8"
    except tomllib.TOMLDecodeError as error:
        reason = _short(str(error))
    except RecursionError:
        reason = "it is nested too deep"
    except ValueError:  # Python's own limit
        reason = "a number has thousands of digits"
    raise WrongOptions(f"{_PLACE} is no TOML ({reason}); lines like seed = 0 below [{_TABLE}] are needed: {_REMEDY}")


def _key(key: str) -> str:
    return _short(key if key.isidentifier() else repr(key))


def _value(value: object) -> str:
    """As TOML writes it."""
    return str(value).lower() if isinstance(value, bool) else _short(repr(value))


def _short(text: str) -> str:
    """At most so much of what a file says that it fits a sentence."""
    return text if len(text) <= 80 else f"{text[:80]}…"
