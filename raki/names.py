"""What a file's name says: how its scan is called, or that it is none but options, a note or a program's scratch."""

import unicodedata

OPTIONS_FILE = "raki.toml"

UNFINISHED = (
    *(".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", ".download", ".opdownload"),
    *(".aria2", ".!ut", ".!qb", ".bc!", ".xltd", ".swp", ".swo", ".lock", ".lck", "~"),
)
"""Endings of files that a program is still at work on: rclone, WinSCP, browsers, editors, transfer tools."""
NOTES = (
    *(".md5", ".sha1", ".sha256", ".sha512", ".sfv", ".par2", ".sig", ".asc"),
    *(".txt", ".md", ".rtf", ".log", ".csv", ".tsv", ".ini", ".xml", ".yml", ".yaml", ".html", ".htm", ".url", ".lnk"),
    *(".pdf", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".png", ".jpg", ".jpeg", ".gif"),
    *(".bak", ".old", ".orig"),
    *(":zone.identifier", "@synoeastream", "@synoresource"),
)
"""Endings of what people and their tools lay beside a scan: checksums, notes, tables, pictures, what it was before, and
the attributes that Windows and a NAS keep in files of their own."""
_NOTES_NAMES = (*("md5sums", "sha1sums", "sha256sums", "sha512sums", "checksums"), *("readme", "license", "copying"))
_PARAVISION = (
    *("method", "fid", "rawdata.job0", "visu_pars", "pulseprogram", "pulseprogram.precomp", "configscan", "acqp.out"),
    *("adjstateperscan", "adjstateperstudy", "resultstate", "scanprogram.scanprogram", "subject", "shimcondition"),
    *("specpar", "uxnmr.par", "uxnmr.info", "2dseq", "reco", "reco.out", "methreco", "procs", "pvmeta", "d3proc"),
)
"""Of a folder that Bruker's ParaVision left: what has the page that says how to pack it is its `acqp` alone."""
LEADS = {".cfl": ".hdr", ".json": ".npy", ".data": ".list"}
"""Endings of files that are a scan only together with another of the same name, and that one's ending, which leads."""
_NOISE_ENDINGS = (".h5", ".hdf5", ".mrd", ".dat")
"""Of files that may hold a noise scan by itself."""
_NOISE = "noise"
_SCRATCH_NAMES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")
_SCRATCH_FOLDERS = (
    *("$recycle.bin", "recycler", "#recycle", "system volume information", "found.000", "lost+found"),
    *("@eadir", "@tmp", "#snapshot", "__macosx", "@recycle", "@recently-snapshot"),
    *("network trash folder", "temporary items"),
)

_ENDINGS = (
    ".gz",
    ".tgz",
    ".tar",
    ".zip",
    ".zst",
    ".xz",
    ".bz2",
    ".lzma",
    ".h5",
    ".hdf5",
    ".mrd",
    ".dat",
    ".npy",
    ".npz",
    ".hdr",
    ".list",
)


def scan_name(file_name: str) -> str:
    """The file's name less the endings of archives and formats."""
    while (stem := _without_ending(file_name)) != file_name:
        file_name = stem
    return file_name


def is_options_file(file_name: str) -> bool:
    """Whether a file of this name holds options, whatever stands in it: `raki.toml` or `NAME.raki.toml`."""
    return file_name == OPTIONS_FILE or file_name.endswith(f".{OPTIONS_FILE}")


def is_scratch(path: str) -> bool:
    """Whether a file on the share is an operating system's or a copying program's and no scan.

    Hidden files, office locks, thumbnails, wastebaskets, unfinished copies: they come and go by themselves.

    Args:
        path: on the share, with slashes.
    """
    *folders, name = path.lower().split("/")
    hidden = any(part.startswith((".", "~")) for part in (*folders, name))
    in_scratch = any(part in _SCRATCH_FOLDERS or part.endswith(".download") for part in folders)  # as Safari does
    return hidden or in_scratch or name in _SCRATCH_NAMES or name.endswith(UNFINISHED)


def is_scan(path: str) -> bool:
    """Whether a file on the share is taken for a scan: all but folders, scratch, notes, companions and options.

    What is left alone isn't failed either: a person who drops `scan.h5` and `scan.h5.md5` wants one result.
    """
    name = path.rpartition("/")[2]
    if not name or is_scratch(path) or is_options_file(name):
        return False
    # What is meant for options and isn't taken for them is to be told so.
    is_note = name.lower() in (*_NOTES_NAMES, *_PARAVISION) or name.lower().endswith((*NOTES, *LEADS))
    return OPTIONS_FILE in name.lower() or not is_note


def lead_of(path: str) -> str | None:
    """The path of the scan that a file is the companion of, as `a.hdr` of `a.cfl`; None where it is nobody's."""
    return next((path[: -len(own)] + _as_written(lead, path) for own, lead in LEADS.items() if _ends(path, own)), None)


def companions_of(path: str) -> list[str]:
    """The paths of the files without which a scan isn't whole."""
    return [path[: -len(lead)] + _as_written(own, path) for own, lead in LEADS.items() if _ends(path, lead)]


def noise_beside(path: str) -> list[str]:
    """The paths at which a noise scan belongs to a scan: `a_noise.h5` or `a-noise.h5` beside `a.h5`, or `noise.h5`.

    The first that is there counts. Empty for a file that is named like a noise scan itself, and for those that bring
    what belongs to them.
    """
    folder, slash, name = path.rpartition("/")
    stem, dot, ending = name.rpartition(".")
    if not stem or f".{ending.lower()}" not in _NOISE_ENDINGS or stem.lower() == _NOISE or image_of_noise(path):
        return []
    word = _NOISE.upper() if stem.isupper() else _NOISE
    return [f"{folder}{slash}{noise}{dot}{ending}" for noise in (f"{stem}_{word}", f"{stem}-{word}", word)]


def image_of_noise(path: str) -> str | None:
    """The path of the scan whose noise scan a file is by its name, as `a.h5` of `a_noise.h5`; None of any other."""
    stem, dot, ending = path.rpartition(".")
    image, word = stem[: -len(_NOISE) - 1], stem[-len(_NOISE) - 1 :].lower()
    is_one = f".{ending.lower()}" in _NOISE_ENDINGS and word in (f"_{_NOISE}", f"-{_NOISE}")
    return f"{image}{dot}{ending}" if is_one and image and not image.endswith("/") else None


def _ends(path: str, ending: str) -> bool:
    return path.lower().endswith(ending) and not is_scratch(path)


def _as_written(ending: str, path: str) -> str:
    """As loud as the ending of the path, which is as long."""
    return ending.upper() if path[-len(ending) :].isupper() else ending


def for_blind_eyes(path: str) -> str:
    """The same for two paths that a share's client can't tell apart.

    Windows and macOS take `Scan` and `SCAN` for one name, and macOS the two ways to write an umlaut. Unicode Standard,
    section 3.13, "Default Caseless Matching", D145.
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def options_beside(file_name: str) -> tuple[str, ...]:
    """The names of files in a scan's folder that may hold its options; the first that is there counts, alone."""
    return f"{scan_name(file_name)}.{OPTIONS_FILE}", OPTIONS_FILE


def _without_ending(name: str) -> str:
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name
