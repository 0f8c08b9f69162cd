"""What a file's name says: how its scan is called, and whether it holds a scan's options instead."""

OPTIONS_FILE = "raki.toml"

_ENDINGS = (".gz", ".tgz", ".tar", ".zip", ".zst", ".xz", ".h5", ".hdf5", ".mrd", ".dat")


def scan_name(file_name: str) -> str:
    """The file's name less the endings of archives and formats."""
    while (stem := _without_ending(file_name)) != file_name:
        file_name = stem
    return file_name


def is_options_file(file_name: str) -> bool:
    """Whether a file of this name holds options, whatever stands in it: `raki.toml` or `NAME.raki.toml`."""
    return file_name == OPTIONS_FILE or file_name.endswith(f".{OPTIONS_FILE}")


def options_beside(file_name: str) -> tuple[str, ...]:
    """The names of files in a scan's folder that may hold its options; the first that is there counts, alone."""
    return f"{scan_name(file_name)}.{OPTIONS_FILE}", OPTIONS_FILE


def _without_ending(name: str) -> str:
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)]
    return name
