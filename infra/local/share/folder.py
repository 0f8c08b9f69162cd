"""A folder that stands for a file share: files become objects, and objects become files when they are asked for."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from boto3.s3.transfer import TransferConfig

from infra.local.account import Client
from infra.local.journal import Journal
from infra.local.share import leftovers
from raki.names import is_scratch

# The server holds the parts that are on their way in memory, several times over. boto3 itself makes them larger where
# there would be more than S3's 10,000.
TRANSFER = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=2)


@dataclass(frozen=True, kw_only=True)
class Version:
    """A file's content, as far as its directory entry says."""

    n_bytes: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "Version | None":
        """The file's present version, or None where no regular file is."""
        with contextlib.suppress(OSError):
            found = path.lstat()
            if os.path.isfile(path) and not os.path.islink(path):  # noqa: PTH113, PTH114 - suppressed together
                return cls(n_bytes=found.st_size, changed_ns=found.st_mtime_ns)
        return None


@dataclass(frozen=True, kw_only=True)
class Synchronised:
    """A file and an object that are the same."""

    version: Version
    etag: str
    attributes: str | None = None
    """Owner and rights that the object's metadata hold; None where the share doesn't write them."""


class ShareFolder:
    """One share's folder, and the objects below `prefix` of its bucket.

    An object's key is the prefix and the file's path with forward slashes, whatever characters it has. A raw scan that
    vanishes from the share is hidden in its bucket, and its versions stay.

    Args:
        two_versions: data first, and metadata as a version of its own, as a gateway does.
        uploaded: told of each upload's key and size.
    """

    def __init__(
        self,
        path: Path,
        bucket: str,
        prefix: str,
        s3: Client,
        journal: Journal,
        *,
        read_only: bool = False,
        two_versions: bool = False,
        uploaded: Callable[[str, int], None] = lambda _key, _n_bytes: None,
    ) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._read_only = read_only
        self._two_versions = two_versions
        self._uploaded = uploaded
        self._seen_folders = {""}
        """Folders that a listing has shown, with a slash at their end: a gateway looks again into these only."""
        self.path = path
        self._bucket = bucket
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._s3 = s3
        self._journal = journal
        self._lock = threading.Lock()
        self._refreshing = threading.Lock()
        """One refresh at a time: one whose listing is older would remove what a newer one has brought."""
        self._synchronised: dict[str, Synchronised] = {}
        leftovers.clear(path)
        self._before = leftovers.listed(path) if read_only else {}
        """By folder, the files of results that stood here before the start, when they were another cloud's."""

    def needs_upload(self, file: Path) -> bool:
        """Whether `file` holds something that its object doesn't."""
        if is_scratch(self._name(file)):
            return False
        version = Version.of(file)
        known = self._known(self._name(file))
        return version is not None and (known is None or known.version != version)

    def upload(self, file: Path) -> None:
        """Makes the file's content its object. One that changes meanwhile needs an upload again."""
        name = self._name(file)
        version = Version.of(file)
        if version is None:
            return
        key, attributes = self._prefix + name, _attributes(file)
        arguments = {"ChecksumAlgorithm": "CRC64NVME"}  # what S3 adds for a gateway, which sends MD5
        metadata = {} if self._two_versions else {"Metadata": attributes}
        self._s3.upload_file(str(file), self._bucket, key, Config=TRANSFER, ExtraArgs=arguments | metadata)
        if self._two_versions:
            self._write_attributes(key, attributes)
        self._note(name, version, attributes)
        self._journal.note("uploaded", f"{self.path.name}/{name}, {version.n_bytes} bytes")
        self._uploaded(key, version.n_bytes)

    def update_attributes(self, file: Path) -> None:
        """Makes the file's owner and rights its object's metadata, which is another version of the same bytes.

        S3 File Gateway user guide, "Troubleshooting: file share issues", on several versions of one file.
        """
        name, attributes = self._name(file), _attributes(file)
        known = self._known(name)
        if known is None or known.attributes in (None, str(attributes)) or known.version != Version.of(file):
            return
        with contextlib.suppress(self._s3.exceptions.NoSuchKey, self._s3.exceptions.ClientError):
            self._write_attributes(self._prefix + name, attributes)
            self._note(name, known.version, attributes)

    def _write_attributes(self, key: str, attributes: dict[str, str]) -> None:
        place = {"Bucket": self._bucket, "Key": key}
        self._s3.copy_object(**place, CopySource=place, Metadata=attributes, MetadataDirective="REPLACE")

    def _note(self, name: str, version: Version, attributes: dict[str, str]) -> None:
        etag = self._s3.head_object(Bucket=self._bucket, Key=self._prefix + name)["ETag"]
        with self._lock:
            self._synchronised[name] = Synchronised(version=version, etag=etag, attributes=str(attributes))

    def hide_removed(self) -> None:
        """Deletes the objects of files that are on the share no more: of a bucket with versions that hides them."""
        with self._lock:
            gone = [name for name in self._synchronised if not os.path.lexists(self.path / name)]
        if not os.path.lexists(self.path):
            return  # it is the share that is gone, and not all of its files
        for name in gone:
            self._s3.delete_object(Bucket=self._bucket, Key=self._prefix + name)
            with self._lock:
                self._synchronised.pop(name, None)
            self._journal.note("removed", f"{self.path.name}/{name}")

    def refresh(self, folders: list[str], *, recursive: bool) -> int:
        """Makes the files below `folders` what the bucket says, and returns how many changed.

        Args:
            folders: paths from the share's root; "/" is the root.
            recursive: False leaves everything but the direct children of the folders as it is.
        """
        with self._refreshing:
            return sum(self._refresh(folder, recursive=recursive) for folder in folders)

    def _refresh(self, folder: str, *, recursive: bool) -> int:
        inside = folder.strip("/") + "/" if folder.strip("/") else ""
        if inside not in self._seen_folders:
            self._journal.note("error", f"{self.path.name}: the gateway hasn't listed {folder} yet, it stays unseen")
            return 0
        listed = dict(self._list(inside, recursive=recursive))
        self._seen_folders |= _folders_of(listed)
        n_changed = sum(self._fetch(name, etag) for name, etag in listed.items())
        n_changed += sum(self._remove_from_before(folder, listed) for folder in _folders_of(listed))
        with self._lock:
            known = [name for name in self._synchronised if name.startswith(inside)]
        below = [name for name in known if recursive or "/" not in name[len(inside) :]]
        return n_changed + sum(self._remove(name) for name in below if name not in listed)

    def _list(self, inside: str, *, recursive: bool) -> Iterator[tuple[str, str]]:
        delimiter = {} if recursive else {"Delimiter": "/"}
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + inside, **delimiter
        )
        for page in pages:
            self._seen_folders |= {found["Prefix"][len(self._prefix) :] for found in page.get("CommonPrefixes", [])}
            for found in page.get("Contents", []):
                name = found["Key"][len(self._prefix) :]
                if _is_file_name(name):
                    yield name, found["ETag"]

    def _fetch(self, name: str, etag: str) -> bool:
        """Brings one object, unless the file is the same already or, on a share that is written to, newer."""
        file = self.path / name
        here = Version.of(file)
        known = self._known(name)
        ours = known is not None and known.version == here
        if here is not None and (known.etag == etag if known and ours else not self._read_only):
            return False
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._download(name, etag, file)
        except OSError as error:
            self._journal.note("error", f"{self.path.name}/{name} can't be written: {error}")
            return False
        return True

    def _download(self, name: str, etag: str, file: Path) -> None:
        """Under another name first: whoever looks at the share sees a file whole or not at all."""
        handle, unfinished = tempfile.mkstemp(prefix=leftovers.PREFIX, suffix=leftovers.SUFFIX, dir=file.parent)
        try:
            with os.fdopen(handle, "wb") as target:
                leftovers.hold(target)
                self._s3.download_fileobj(self._bucket, self._prefix + name, target, Config=TRANSFER)
            Path(unfinished).chmod(0o644)
            version = Version.of(Path(unfinished))
            if version is None:
                raise FileNotFoundError(f"{unfinished} was removed by something else while it was written")
            with self._lock:  # before the file appears, or its appearance would count as something to upload
                self._synchronised[name] = Synchronised(version=version, etag=etag)
            Path(unfinished).replace(file)
        finally:
            Path(unfinished).unlink(missing_ok=True)

    def _remove(self, name: str) -> bool:
        file = self.path / name
        with self._lock:
            known = self._synchronised.pop(name)
        if Version.of(file) != known.version:
            return False
        file.unlink()
        for parent in file.relative_to(self.path).parents:
            with contextlib.suppress(OSError):  # not empty
                if parent.parts:
                    (self.path / parent).rmdir()
        return True

    def _remove_from_before(self, folder: str, listed: Container[str]) -> int:
        """Takes away what stood in a scan's folder before its new results came, an error's page beside its images."""
        stale = [name for name in self._before.pop(folder, ()) if name not in listed]
        for name in stale:
            (self.path / name).unlink(missing_ok=True)
        return len(stale)

    def _known(self, name: str) -> Synchronised | None:
        with self._lock:
            return self._synchronised.get(name)

    def _name(self, file: Path) -> str:
        return file.relative_to(self.path).as_posix()


def _attributes(file: Path) -> dict[str, str]:
    """What a gateway keeps of a file in its object's metadata, as far as a copy to the share says it."""
    found = file.lstat()
    names = {"file-group": found.st_gid, "file-owner": found.st_uid, "file-permissions": f"{found.st_mode & 0o777:04o}"}
    return {name: str(value) for name, value in names.items()}


def _folders_of(names: Iterable[str]) -> set[str]:
    return {name[: end + 1] for name in names for end, letter in enumerate(name) if letter == "/"}


def _is_file_name(name: str) -> bool:
    """Whether a key can be a file below the share: no folder marker, nothing that leads out of it."""
    return "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))
