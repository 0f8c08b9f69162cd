"""Where on the share a scan's options may stand, and which folder its results go to."""

from dataclasses import dataclass, replace
from itertools import chain, count

from raki.names import for_blind_eyes, options_beside, scan_name
from raki.service.table import Table

STATUS_FOLDER = "raki-status"
"""In the results, a folder of its own: the gateway looks again into whole folders, and into the root seldom."""
STATUS_KEY = f"{STATUS_FOLDER}/status.html"
CATALOGUE_FOLDER = "raki-catalogue"
"""Where compaction puts the rows of all results; see `raki.catalogue.index`."""
STATUS_PAGE = (STATUS_FOLDER, STATUS_KEY, CATALOGUE_FOLDER)
"""What no scan's results folder is called: publishing a scan removes other files from its folder."""


def results_folder(raw_key: str) -> str:
    """The path on the share of a scan's results: its own path less the endings of archives and formats."""
    folder, _, name = raw_key.rpartition("/")
    return f"{folder}/{scan_name(name)}" if folder else scan_name(name)


def options_keys(raw_key: str) -> list[str]:
    """The keys beside a scan's at which its options may stand; the first that is there counts, alone."""
    folder, slash, name = raw_key.rpartition("/")
    return [folder + slash + beside for beside in options_beside(name)]


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file's results folder, as it was found."""

    folder: str
    current: str | None
    """Id of the version whose results stand, or will stand, in it."""
    n_owners: int
    """How often it went from one version to another."""
    n_looks: int
    """How often somebody has looked which version stands in the bucket."""


def find_place(table: Table, raw_key: str, alias: str | None = None) -> Place:
    """The file's results folder: its alias, at the root of the share, where it has one, or else its own path.

    Its whole key, or a number behind it, where another file has that already.
    `scan.h5` and `scan.tar.gz` in one folder are two scans: their images must never mix. Nor may those of `scan.h5` and
    `SCAN.h5`, whose folders a client that is blind to case would show as one.
    The status page has a folder alone, and so has the catalogue.
    """
    named = [alias] if alias else [results_folder(raw_key), raw_key]
    candidates = chain(named, (f"{alias or raw_key}.{n}" for n in count(2)))
    while True:
        folder = next(candidates)
        if for_blind_eyes(folder) in STATUS_PAGE:
            continue
        item = table.get(_key(folder)) or {"raw_key": raw_key}
        if item["raw_key"] == raw_key:
            n_owners, n_looks = (int(item.get(name, 0)) for name in ("n_owners", "n_looks"))
            return Place(folder=folder, current=item.get("current"), n_owners=n_owners, n_looks=n_looks)


def take_place(table: Table, place: Place, raw_key: str, scan_id: str) -> Place | None:
    """Gives the folder to the version that was found in the bucket after the place was; None if others looked too.

    Who looks one after the other sees the versions in their order. Of two who look at the same time one may have seen
    the older version and be the last to say so: he has to look again.
    """
    taken = replace(
        place,
        current=scan_id,
        n_owners=place.n_owners + (place.current != scan_id),
        n_looks=place.n_looks + 1,
    )
    is_first = table.update(
        _key(place.folder),
        {"raw_key": raw_key, "current": scan_id, "n_owners": taken.n_owners, "n_looks": taken.n_looks},
        condition="attribute_not_exists(scan_id) "
        "OR (#raw_key = :key AND (attribute_not_exists(n_looks) OR #n_looks = :found))",
        values={":key": raw_key, ":found": place.n_looks},
    )
    return taken if is_first else None


def owner_of(table: Table, folder: str) -> str | None:
    """The id of the scan whose results stand, or will stand, in the folder."""
    item = table.get(_key(folder))
    return item["current"] if item else None


def _key(folder: str) -> str:
    return f"#folder:{for_blind_eyes(folder)}"
