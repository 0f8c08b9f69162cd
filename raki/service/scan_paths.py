"""Which scan somebody means: by its id, or by its path on the share, on either side, with or without its ending."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from raki.errors import RakiError
from raki.names import is_scratch
from raki.service.folders import results_folder
from raki.service.record import ScanRecord, State
from raki.wording import plain

MOST_NAMED = 8
SIDES = ("raw", "results")
"""The shares' names: what stands before a scan's path where a person sees it."""


class NoSuchScan(RakiError):
    """The ledger has no scan of this path or id."""

    exit_code = 31


class AmbiguousScan(RakiError):
    """Several files are called so."""

    exit_code = 32


class NoSuchFolder(RakiError):
    """A share can have no folder of this name, or what lies in it is left alone."""

    exit_code = 36


def key_on_share(folder: str, name: str) -> str:
    """The key in the raw bucket of a file in a folder of the share.

    Args:
        folder: with slashes, at its ends too or not; empty for the root.
        name: the file's.

    Raises:
        NoSuchFolder: it would lead out of the share, a client of the share couldn't name it, or nobody looks there.
    """
    parts = folder.strip("/").split("/") if folder.strip("/") else []
    if any(part in ("", ".", "..") or part != plain(part) or "\\" in part for part in parts):
        raise NoSuchFolder(f"no folder of a share is called '{folder}': name one by --to, its parts apart by /")
    if parts and is_scratch("/".join([*parts, "scan"])):
        raise NoSuchFolder(
            f"what lies in '{folder}' is left alone, as wastebaskets and hidden folders are: name another"
        )
    return "/".join([*parts, name])


def find_scan(named: str, records: Iterable[ScanRecord], is_current: Callable[[ScanRecord], bool]) -> ScanRecord:
    """The scan that is meant. Of several versions of one file it is the one that has the results folder.

    Args:
        named: a scan id; or a path on the share, with or without the share's name and what stands before that.
        records: all that the ledger knows.
        is_current: whether a version has the results folder.

    Raises:
        NoSuchScan: none is called so.
        AmbiguousScan: several files are; the sentence names them.
    """
    path = named.replace("\\", "/").rstrip("/")
    found: dict[tuple[int, bool], dict[str, list[ScanRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.scan_id == named:
            return record
        if rank := max(_ranks(path, record), default=None):
            found[rank][record.raw_key].append(record)
    if not found:
        raise NoSuchScan(
            f"the ledger knows no scan '{named}': name its path on the share, or its scan id. A file that was just "
            "dropped is known as soon as a worker has taken it up"
        )
    files = found[max(found)]
    if len(files) > 1:
        names = sorted(files)
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise AmbiguousScan(
            f"'{named}' may be {', '.join(names[:MOST_NAMED])}{more}: give the whole name, or the scan id"
        )
    ((versions),) = files.values()
    current = [record for record in versions if is_current(record)]
    return max(current or versions, key=lambda record: record.entered_at[State.ARRIVED])


def _ranks(path: str, record: ScanRecord) -> Iterator[tuple[int, bool]]:
    """How well a path fits a scan: by how much of it is the scan's, then whether it is the file's whole name.

    What stands before must end in the name of a share: `other/a.h5` is not `a.h5`.
    """
    for key in (record.raw_key, record.results_folder, results_folder(record.raw_key)):
        if path == key or any(f"/{path}".endswith(f"/{side}/{key}") for side in SIDES):
            yield len(key), key == record.raw_key
    if f"/{path.rpartition('/')[0]}".endswith(f"/results/{record.results_folder}"):  # `report.html` there, for one
        yield len(record.results_folder), False
