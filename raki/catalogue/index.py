"""Which rows lie where: those beside results, as the tree has them now, and those that compaction has taken in.

In the folder of results:

    */catalogue.jsonl                            beside each result, listed in its manifest
    raki-catalogue/index.json                    which parts count, and which rows they were made of
    raki-catalogue/slices/month=2026-11/*.parquet  by the month in which the result was made
    raki-catalogue/labels/month=2026-11/*.parquet  by the month in which they were said; only added to
    raki-catalogue/masks/*.png                   regions that labels are of, by their digests

A reader takes the parts that the index names and no others, so a compaction that is killed changes nothing. Of a result
that was made again, or is gone, the rows that were taken in don't count.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from raki.catalogue.schema import ROWS_FILE
from raki.manifest import MANIFEST
from raki.whole_file import whole_file

FOLDER = "raki-catalogue"
INDEX = "index.json"
INDEX_SCHEMA = "raki.catalogue-index/1"

FOLDERS_AT_A_TIME = 16

State = tuple[int, int]
"""Size in bytes and time of the last change in ns of a file: another state is another content."""


@dataclass(frozen=True, kw_only=True)
class Absorbed:
    """Rows that compaction has taken in."""

    state: State
    result_id: str


@dataclass(frozen=True, kw_only=True)
class Index:
    """What compaction left."""

    parts: tuple[str, ...] = ()
    """Of the table of slices, as paths in the catalogue's folder."""
    absorbed: Mapping[str, Absorbed] = field(default_factory=dict)
    """By the path of the rows in the folder of results."""
    is_damaged: bool = False
    """Whether one is there that can't be read: then all rows are read where they lie beside results."""


def read_index(root: Path) -> Index:
    """The index of a folder of results; an empty one where there is none."""
    try:
        content = json.loads((root / FOLDER / INDEX).read_text(encoding="utf-8"))
        if content["schema"] != INDEX_SCHEMA or not all(_is_within(part) for part in content["parts"]):
            return Index(is_damaged=True)
        absorbed = {
            path: Absorbed(state=(int(size), int(changed)), result_id=str(result))
            for path, (size, changed, result) in content["absorbed"].items()
        }
        return Index(parts=tuple(content["parts"]), absorbed=absorbed)
    except FileNotFoundError:
        return Index()
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return Index(is_damaged=True)


def index_bytes(index: Index) -> bytes:
    """The content of its file."""
    content = {
        "schema": INDEX_SCHEMA,
        "parts": index.parts,
        "absorbed": {path: [*each.state, each.result_id] for path, each in sorted(index.absorbed.items())},
    }
    return (json.dumps(content, separators=(",", ":")) + "\n").encode()


def write_index(root: Path, index: Index) -> None:
    """Puts an index in the place of the one that is there."""
    with whole_file(root / FOLDER / INDEX) as part:
        part.write_bytes(index_bytes(index))


@dataclass(frozen=True)
class Survey:
    """A folder of results as it is now, against its index."""

    index: Index
    standing: Mapping[str, State]
    """All rows that lie beside results that are whole."""

    @cached_property
    def fresh(self) -> tuple[str, ...]:
        """Those that compaction hasn't taken in, or not as they are now."""
        absorbed = self.index.absorbed
        return tuple(
            path for path, state in self.standing.items() if path not in absorbed or absorbed[path].state != state
        )

    @cached_property
    def gone(self) -> frozenset[str]:
        """Results that were taken in and no longer are what stands there."""
        there = {each.result_id for path, each in self.index.absorbed.items() if self.standing.get(path) == each.state}
        return frozenset(each.result_id for each in self.index.absorbed.values()) - there


def survey(root: Path) -> Survey:
    """Looks through a folder of results. Hidden folders, and links to folders, are passed over.

    Many at a time: on a share each is a wait for its answer. When a folder was changed last isn't asked: gateways and
    copies don't tell, and rows that are written over in their place don't change it.
    """
    index = read_index(root)
    standing: dict[str, State] = {}
    level = [""]
    with ThreadPoolExecutor(FOLDERS_AT_A_TIME, thread_name_prefix="raki-survey") as pool:
        while level:
            size = max(1, min(64, len(level) // FOLDERS_AT_A_TIME))
            some = [level[begin : begin + size] for begin in range(0, len(level), size)]
            level = []
            for found, below in pool.map(lambda folders: _rows_in(root, folders), some):
                standing |= found
                level += below
    return Survey(index, dict(sorted(standing.items())))


def _rows_in(root: Path, folders: Sequence[str]) -> tuple[dict[str, State], list[str]]:
    """Rows in these folders, and the folders in them."""
    found: dict[str, State] = {}
    below: list[str] = []
    for folder in folders:
        rows, has_manifest = None, False
        try:
            entries = list(os.scandir(root / folder))
        except OSError:  # removed meanwhile, or not ours to read
            continue
        for entry in entries:
            if entry.name == MANIFEST:
                has_manifest = True
            elif entry.name == ROWS_FILE:
                rows = entry
            elif not entry.name.startswith(".") and entry.name != FOLDER and entry.is_dir(follow_symlinks=False):
                below.append(f"{folder}/{entry.name}" if folder else entry.name)
        if rows and has_manifest and rows.is_file(follow_symlinks=False):
            with suppress(OSError):
                state = rows.stat()
                found[f"{folder}/{ROWS_FILE}" if folder else ROWS_FILE] = (state.st_size, state.st_mtime_ns)
    return found, below


def _is_within(part: object) -> bool:
    return isinstance(part, str) and ".." not in Path(part).parts and not Path(part).is_absolute()
