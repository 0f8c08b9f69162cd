"""The text of a Philips `.list`: general information, and a table with one row for each complex data vector.

The file explains itself: types of vectors, their attributes, and how they are to be transformed stand in its comments.
A line of information names a mixed sequence, an echo and a location, or zeros, then the thing and its value; lines of
the table come between marks of its own, under the names of the columns.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int, Shaped

from raki.errors import DamagedScan, NotAScan, UnsupportedScan

BEGIN, END = b"# === START OF DATA VECTOR INDEX", b"# === END OF DATA VECTOR INDEX"
COLUMNS = (
    *("mix", "dyn", "card", "echo", "loca", "chan", "extr1", "extr2"),
    *("ky", "kz", "aver", "sign", "rf", "grad", "size", "offset"),
)
"""Of the table's columns those that tell where a vector belongs and where it lies."""
SIGNED = ("ky", "kz", "sign")
TYPES = (b"STD", b"REJ", b"PHX", b"FRX", b"NOI", b"NAV", b"DNA", b"PHC", b"FRC")
INFORMATION = re.compile(rb"\.\s+(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})\s+(\S[^:]{0,60}?)\s*:\s*(\S.{0,80})?$")
# Rows hold about 120 letters; nothing in the file has many more.
LONGEST_LINE = 1024
LONGEST_NUMBER = 16
ROWS_AT_ONCE = 1 << 13
# Each vector has a row: 64 coils of a million lines.
MOST_ROWS = 1 << 24
MOST_VALUES = 1 << 16
LARGEST_COUNTER = 65535

Place = tuple[int, int, int]
Rows = Int[np.ndarray, " row"]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What stands in a `.list`."""

    values: dict[str, dict[Place, tuple[float, ...]]]
    """Numbers by their names; for each the mixed sequence, echo and location of which they hold, or zeros."""
    types: Shaped[np.ndarray, " row"]
    """Of each vector, as bytes of three letters."""
    columns: dict[str, Rows]
    """By the names in `COLUMNS`."""

    def of(self, name: str, place: Place, n_numbers: int, otherwise: tuple[float, ...] | None = None) -> list[float]:
        """The numbers of a name for a place, or for the first place that there is.

        Raises:
            DamagedScan: there are none, or not as many.
        """
        found = self.values.get(name, {})
        numbers = found.get(place, next(iter(found.values()), otherwise))
        if numbers is None or len(numbers) != n_numbers:
            raise DamagedScan(
                f"the .list gives {len(numbers or ())} numbers for '{name}'; raki needs {n_numbers}: export the scan "
                "again"
            )
        return list(numbers)


def looks_like_list(start: bytes) -> bool:
    """Whether a file that begins with these bytes describes exported vectors; a `.par` describes images."""
    return start.lstrip().startswith(b"# ===") and b"number_of_mixes" in start


def read_listing(path: Path) -> Listing:
    """Reads the information and the table.

    Raises:
        NotAScan: there are no vectors.
        DamagedScan: the table has no end, or a row isn't one.
        UnsupportedScan: vectors that raki doesn't know, of images or spectra, or too many.
    """
    values: dict[str, dict[Place, tuple[float, ...]]] = {}
    with path.open("rb") as file:
        for line in _lines(file):
            if line.startswith(BEGIN):
                break
            _note(line, values)
        else:
            raise DamagedScan("the .list ends before its table of vectors; raki needs all of it: copy it again")
        types, columns = _table(file)
        for line in _lines(file):  # coils and their names stand behind the table
            _note(line, values)
    return Listing(values=values, types=types, columns=columns)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise DamagedScan(
                f"the .list has a line of more than {LONGEST_LINE} letters, as no export has; copy it again"
            )
        yield line.strip()


def _note(line: bytes, values: dict[str, dict[Place, tuple[float, ...]]]) -> None:
    """Keeps what a line of information says, if it is numbers."""
    found = INFORMATION.match(line)
    if not found:
        return
    *place, name, value = found.groups()
    numbers = [_number(word) for word in (value or b"").split()]
    if not numbers or any(number is None for number in numbers) or sum(map(len, values.values())) > MOST_VALUES:
        return
    known = values.setdefault(name.decode("ascii", "replace"), {})
    key = tuple(map(int, place))
    told = tuple(number for number in numbers if number is not None)
    if known.setdefault(key, told) != told:  # type: ignore[arg-type]
        raise DamagedScan(
            f"the .list gives '{name.decode('ascii', 'replace')}' twice, and not the same; export the scan again"
        )


def _number(word: bytes) -> float | None:
    return float(word) if re.fullmatch(rb"[+-]?\d{1,9}(\.\d{0,9})?", word) else None


def _table(file: BinaryIO) -> tuple[np.ndarray, dict[str, Rows]]:
    names: list[str] = []
    types: list[bytes] = []
    waiting: list[list[bytes]] = []
    blocks: list[np.ndarray] = []
    for line in _lines(file):
        if line.startswith(END):
            break
        if line.startswith(b"#") and line[1:].split()[:1] == [b"typ"]:
            names = _require_columns([word.decode("ascii", "replace") for word in line[1:].split()])
            wanted = [names.index(name) for name in COLUMNS]
        if not line or line.startswith((b"#", b".")):
            continue
        words = line.split()
        if not names or len(words) != len(names) or max(map(len, words)) > LONGEST_NUMBER:
            raise _no_row(len(types), f"{len(words)} words, where the table has {len(names)} columns")
        types.append(words[0])
        waiting.append([words[at] for at in wanted])
        if len(types) > MOST_ROWS:
            raise UnsupportedScan(f"the .list has more than {MOST_ROWS} vectors; raki takes no more: export a part")
        if len(waiting) == ROWS_AT_ONCE:
            blocks.append(_numbers(waiting, len(types)))
            waiting = []
    else:
        raise DamagedScan(
            f"the .list ends within its table, after {len(types)} vectors; raki needs all of them: copy it again"
        )
    if not types:
        raise NotAScan("the .list names no vectors; raki needs the lines as they were measured: export the scan again")
    blocks.append(_numbers(waiting, len(types)))
    table = np.concatenate(blocks)
    columns = {name: np.ascontiguousarray(table[:, number]) for number, name in enumerate(COLUMNS)}
    _require_known(np.array(types), columns)
    return np.array(types), columns


def _numbers(rows: list[list[bytes]], n_before: int) -> Int[np.ndarray, "row column"]:
    if not rows:
        return np.zeros((0, len(COLUMNS)), np.int64)
    try:
        return np.array(rows).astype(np.int64)
    except (ValueError, OverflowError):
        raise _no_row(n_before - len(rows), "something else than whole numbers") from None


def _no_row(number: int, found: str) -> DamagedScan:
    return DamagedScan(
        f"a row of the .list's table, after {number} others, holds {found}; raki needs the table as it was exported: "
        "copy it again"
    )


def _require_columns(names: list[str]) -> list[str]:
    if {"y", "z"} <= set(names):
        raise UnsupportedScan(
            "the pair holds images of the coils (cpx), which the scanner has transformed and corrected; raki needs "
            "k-space: export raw data"
        )
    if "kx" in names:
        raise UnsupportedScan(
            "the table counts vectors by kx, ky and kz, as those of spectroscopy; raki reconstructs images"
        )
    missing = [name for name in COLUMNS if name not in names]
    if missing or len(set(names) - {"n.a."}) < len([name for name in names if name != "n.a."]):
        raise DamagedScan(
            f"the .list's table has {'no column ' + missing[0] if missing else 'a column twice'}; raki needs the table "
            "as it was exported: export the scan again"
        )
    return names


def _require_known(types: np.ndarray, columns: dict[str, Rows]) -> None:
    strange = types[~np.isin(types, TYPES)]
    if len(strange):
        raise UnsupportedScan(
            f"the .list has vectors of the type '{strange[0].decode('ascii', 'replace')}'; raki knows "
            f"{', '.join(name.decode() for name in TYPES)}"
        )
    for name, values in columns.items():
        least, most = (-LARGEST_COUNTER if name in SIGNED else 0), LARGEST_COUNTER
        if name in ("size", "offset"):
            most = 1 << 50
        if values.min() < least or values.max() > most:
            wrong = int(values.min() if values.min() < least else values.max())
            raise DamagedScan(
                f"the .list gives {wrong} as the {name} of a vector; raki needs {least} to {most}: copy it again"
            )
