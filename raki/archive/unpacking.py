"""Takes raw data out of what was dropped: finds what each file is by its content, and goes into archives."""

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import BinaryIO

from raki.archive.limits import Limits, Spending
from raki.archive.raw_data import START_BYTES, RawData, companion_of, recognised, refusal, suffix_of
from raki.archive.streams import BLOCK_BYTES, Content, Decompressed, Readable, decompressor_for
from raki.archive.tar import is_tar, tar_members
from raki.archive.zip import ZipArchive, is_zip
from raki.errors import NotAScan, PermanentError, TransientError, UnsafeArchive, WrongOptions
from raki.names import OPTIONS_FILE, is_options_file
from raki.options import LARGEST_FILE_BYTES

# So much is written between two looks at what is left on the disk.
DISK_CHECK_BYTES = 64 << 20
COMPRESSION_SUFFIXES = (".gz", ".zst", ".xz", ".bz2", ".lzma")


@dataclass(frozen=True, kw_only=True)
class UnpackedFile:
    """A file of raw data that was taken out, under a passing name."""

    path: Path
    member: PurePosixPath
    """Its name in the archive, by which its companions are found."""
    suffix: str
    companions: tuple[str, ...] = ()


class Unpacking:
    """What was taken out of one archive so far; it lies in a passing folder, and is gone with it unless placed."""

    def __init__(self, folder: Path, limits: Limits, formats: Sequence[RawData]) -> None:
        self._folder, self._formats = folder, tuple(formats)
        self._kinds_of_companions = {companion for known in self._formats for companion in known.companions}
        self._spending = Spending(limits)
        self._raw: list[UnpackedFile] = []
        # In a stream the companion may come before the raw data that it is a part of.
        self._passed_over: list[tuple[PurePosixPath, PurePosixPath | None]] = []
        self._companions: dict[PurePosixPath, Path] = {}
        self._options: Path | None = None
        self._only_start: bytes | None = None
        self._n_paths = 0

    def take_stream(self, stream: Readable) -> None:
        """Takes the raw data out of a stream, and reads it to its end where there is any."""
        self._take(Content(stream, partial(self._spending.pass_bytes, 0)), PurePosixPath("scan"), 0)

    def take_zip(self, file: BinaryIO, n_bytes: int) -> None:
        """Takes the raw data out of a zip archive that is a file of so many bytes, which can be sought in."""
        self._spending.pass_bytes(0, n_bytes)
        self._take_zip(ZipArchive(file), PurePosixPath("scan"), 1)

    def place(self, into: Path) -> list[Path]:
        """Moves the raw data and what belongs to it into a folder, under names of our own, in the archive's order.

        The options that the archive holds go beside it, and aren't among the files returned.

        Raises:
            NotAScan: there is no raw data.
        """
        parts = {companion_of(raw.member, companion) for raw in self._raw for companion in raw.companions}
        leads = [raw for raw in self._raw if raw.member not in parts]
        self._require_whole()
        if not leads:
            raise self._nothing_found()
        placed = []
        for number, lead in enumerate(leads, 1):
            stem = "scan" if number == 1 else f"scan-{number}"
            placed.append(lead.path.replace(into / f"{stem}{lead.suffix}"))
            for companion in lead.companions:
                if part := self._companions.pop(_keyed(companion_of(lead.member, companion)), None):
                    placed.append(part.replace(into / f"{stem}{suffix_of(companion)}"))
        if self._options is not None:
            self._options.replace(into / OPTIONS_FILE)
        return placed

    def _require_whole(self) -> None:
        """What was passed over may be the other half of a scan, and nobody would see that it is missing."""
        taken = {raw.member for raw in self._raw} | self._companions.keys()
        suffixes = self._kinds_of_companions | {suffix for known in self._formats for suffix in known.suffixes}
        for member, target in self._passed_over:
            if {member.suffix.lower(), member.name} & suffixes and target not in taken:
                raise UnsafeArchive(
                    f"by its name ({member.suffix}) an entry of the archive is raw data, but it is "
                    + (
                        "a link to something that isn't in it: pack what it points at (tar --dereference, or zip "
                        "without --symlinks)"
                        if target
                        else "stored without its holes: pack it again without --sparse"
                    )
                )

    def _pass_over(self, folder: PurePosixPath, name: str, target: str | None) -> None:
        """Notes a link and its target, as paths within what was dropped, or a sparse file, whose target is None."""
        self._passed_over.append((folder / name, None if target is None else folder / target))

    def _nothing_found(self) -> PermanentError:
        if self._only_start is not None:
            return refusal(self._only_start, self._formats)
        passed_over = f" ({len(self._passed_over)} are links or sparse files)" if self._passed_over else ""
        return NotAScan(
            f"none of the {self._spending.n_members} entries of the archive is raw data that raki reads{passed_over}; "
            "pack the scan itself"
        )

    def _take(self, content: Content, name: PurePosixPath, level: int) -> None:
        """Takes the raw data out of a file that was found at a level; the file that was dropped is at level 0."""
        start = content.peek(START_BYTES)
        if is_zip(start):
            self._take_spooled(content, name, level)
        elif is_tar(start):
            self._take_tar(content, name, level + 1)
        elif decompressor_for(start):
            self._spending.open_level(level + 1)
            unpacked = Content(Decompressed(content), partial(self._spending.pass_bytes, level + 1))
            if is_tar(unpacked.peek(START_BYTES)):
                self._take_tar(unpacked, name, level + 1)
            else:
                is_named_so = name.suffix.lower() in COMPRESSION_SUFFIXES
                self._take(unpacked, name.with_suffix("") if is_named_so else name, level + 1)
        elif is_options_file(name.name):
            self._keep_options(content)
        else:
            self._keep(content, name, start)

    def _take_tar(self, content: Content, name: PurePosixPath, level: int) -> None:
        self._spending.open_level(level)
        self._take_members(tar_members(content, self._spending, partial(self._pass_over, name)), name, level)

    def _take_zip(self, archive: ZipArchive, name: PurePosixPath, level: int) -> None:
        self._spending.open_level(level)
        members = archive.members(
            self._spending, partial(self._spending.pass_bytes, level), partial(self._pass_over, name)
        )
        self._take_members(members, name, level)

    def _take_spooled(self, content: Content, name: PurePosixPath, level: int) -> None:
        """The directory of a zip archive stands at its end, so that the archive has to be on the disk first."""
        path = self._write(content)
        with path.open("rb") as file:
            archive = ZipArchive(file)
            if archive.is_numpy:
                self._spending.pass_file()
                self._raw.append(UnpackedFile(path=path, member=name, suffix=".npz"))
                return
            self._take_zip(archive, name, level + 1)
        path.unlink()

    def _take_members(self, members: Iterator[tuple[str, Content]], name: PurePosixPath, level: int) -> None:
        for member, content in members:
            # macOS packs a "._" file of attributes beside each file.
            if not PurePosixPath(member).name.startswith("._"):
                self._take(content, name / member, level)

    def _keep_options(self, content: Content) -> None:
        """Writes the file of options, or of a large one as much as tells that it is too large."""
        if self._options is not None:
            raise several_options("archive")
        self._options = self._folder / OPTIONS_FILE
        with full_disk_is_named():
            self._options.write_bytes(content.read_all_of(LARGEST_FILE_BYTES + 1))

    def _keep(self, content: Content, name: PurePosixPath, start: bytes) -> None:
        """Writes the file if it is raw data, or may be a part of some."""
        if not self._spending.n_members:
            self._only_start = start
        suffix = name.suffix.lower()
        formats = recognised(self._formats, name, start)
        is_part = suffix in self._kinds_of_companions, name.name in self._kinds_of_companions
        if formats:
            self._spending.pass_file()
        if not formats and not any(is_part):
            return
        path = self._write(content)
        if any(is_part):
            self._companions[_keyed(name)] = path
        if formats:
            self._raw.append(
                UnpackedFile(
                    path=path,
                    member=name,
                    suffix=written_suffix(suffix, formats),
                    companions=tuple(sorted({kind for known in formats for kind in known.companions})),
                )
            )

    def _write(self, content: Readable) -> Path:
        self._n_paths += 1
        path = self._folder / str(self._n_paths)
        with full_disk_is_named(), path.open("xb") as file:
            n_unchecked = DISK_CHECK_BYTES
            while block := content.read(BLOCK_BYTES):
                if n_unchecked >= DISK_CHECK_BYTES:
                    self._require_free_disk()
                    n_unchecked = 0
                n_unchecked += file.write(block)
        return path

    def _require_free_disk(self) -> None:
        needed = self._spending.limits.free_bytes
        free = shutil.disk_usage(self._folder).free
        if free < needed + DISK_CHECK_BYTES:
            raise full_disk(f"it has {free >> 20} MiB left, of which {needed >> 20} stay free")


def _keyed(member: PurePosixPath) -> PurePosixPath:
    """A companion's name, its ending in small letters."""
    return member.with_suffix(member.suffix.lower())


def several_options(place: str) -> WrongOptions:
    """The error for an archive or a folder with more than one file of options."""
    return WrongOptions(f"the {place} holds several files of options; one {OPTIONS_FILE} is allowed: keep one of them")


def written_suffix(suffix: str, formats: Sequence[RawData]) -> str:
    """The suffix that a file is written with: its own if its format has that, else its format's first, else none."""
    known = [suffix for format_ in formats for suffix in format_.suffixes]
    return suffix if suffix in known else next(iter(known), "")


@contextmanager
def full_disk_is_named() -> Iterator[None]:
    """Within, a disk that gets full is a transient error."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise full_disk("nothing more could be written") from None


def full_disk(what: str) -> TransientError:
    """The error for a disk that can't take what is unpacked."""
    return TransientError(f"the disk is too full to unpack the archive: {what}; free some space and try again")


def unpack_with(
    take: Callable[[Unpacking], None], into: Path, limits: Limits, formats: Sequence[RawData]
) -> list[Path]:
    """Runs an unpacking in a passing folder within `into`, which goes whatever happens."""
    with TemporaryDirectory(dir=into, prefix=".unpacking-") as folder:
        unpacking = Unpacking(Path(folder), limits, formats)
        take(unpacking)
        return unpacking.place(into)
