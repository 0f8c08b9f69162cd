"""A file that is there whole or not at all, whoever looks and whatever fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def whole_file(path: Path, *companions: str) -> Iterator[Path]:
    """A path of the same name to write to; what is there at the end takes the place of `path`, unless something failed.

    It lies in a folder beside `path` that its owner alone can look into, and whose name starts with a dot, so that what
    watches for new files passes it over.

    Args:
        companions: suffixes of files that may be written beside it. They come to their places first: who finds the file
            finds them too.
    """
    with TemporaryDirectory(prefix=".raki-", dir=path.parent) as folder:
        part = Path(folder) / path.name
        yield part
        for suffix in companions:
            if part.with_suffix(suffix).exists():
                part.with_suffix(suffix).replace(path.with_suffix(suffix))
        part.replace(path)
