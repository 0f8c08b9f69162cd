"""A folder of models: `NAME/VERSION/` with `model.json`, `weights.safetensors` and `README.md`, and nothing else.

A model is known by its digest, the SHA-256 of its `model.json`, which has those of the other two. Whatever is taken
from a store is held against it, and whatever comes into one is complete or not there.
"""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from raki.errors import BadModel, NoSuchModel
from raki.models.document import CARD, DOCUMENT, WEIGHTS, ModelFile, digest_of, parse_document
from raki.options import reference
from raki.results.weights import StoredScan, read_stored

VARIABLE = "RAKI_MODELS"
FILES = {DOCUMENT, WEIGHTS, CARD}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """One version of a model, and where it stands."""

    folder: Path
    document: ModelFile
    digest: str
    """SHA-256 of `model.json`."""

    @property
    def pinned(self) -> str:
        """Its name by which no other can be meant."""
        return f"{self.document.name}@{self.document.version}@sha256:{self.digest}"

    def weights(self) -> StoredScan:
        """Its weights.

        Raises:
            BadModel: they aren't what the description says.
        """
        return weights_of(self.folder / WEIGHTS, self.document)


@dataclass(frozen=True, kw_only=True)
class Store:
    """The models of a folder."""

    root: Path

    @classmethod
    def default(cls) -> "Store":
        """Where `RAKI_MODELS` says, else in the user's own data folder (XDG Base Directory Specification)."""
        data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
        return cls(root=Path(os.environ.get(VARIABLE) or Path(data) / "raki/models"))

    def each(self) -> Iterator[Kept | BadModel]:
        """All versions of all models by name, the newest first; what is no model is named in its place."""
        for name in sorted(self._names(self.root)):
            for version in self.versions(name):
                try:
                    yield read_model(self.root / name / version)
                except BadModel as error:
                    yield error

    def versions(self, name: str) -> list[str]:
        """Those of a model, the newest first."""
        found = [each for each in self._names(self.root / name) if reference(f"{name}@{each}")]
        return sorted(found, key=_numbers, reverse=True)

    def find(self, text: str) -> Kept:
        """A model by NAME, NAME@VERSION, NAME@sha256:DIGEST or all three; without a version the newest one.

        Raises:
            NoSuchModel: there is none.
            BadModel: it isn't whole, or not what its digests say.
        """
        said = reference(text)
        if said is None:
            raise NoSuchModel(f"{text!r} is no name of a model; NAME, NAME@VERSION or NAME@sha256:DIGEST is needed")
        name, version, digest = said
        versions = self.versions(name)
        if version is not None:
            versions = [each for each in versions if each == version]
        if not versions:
            known = ", ".join(sorted(self._names(self.root))[:8]) or "none"
            wanted = name if version is None else f"{name}@{version}"
            raise NoSuchModel(f"the store has no model {wanted}; it has {known}: `raki models pull` fetches one")
        if digest is None:
            return read_model(self.root / name / versions[0])
        folders = [self.root / name / each for each in versions]
        for folder in folders:
            document = folder / DOCUMENT
            if document.is_file() and not document.is_symlink() and digest_of(document) == digest:
                return read_model(folder)
        raise BadModel(
            f"no version of {name} in the store has the digest sha256:{digest[:12]}…; it is another model, or was "
            "changed: pull the one that is meant"
        )

    def add(self, folder: Path) -> Kept:
        """Takes a model in, from wherever it stands; one that is there already, the same, stays.

        Raises:
            BadModel: it isn't whole or sound, or another one of its name and version is there.
        """
        found = read_model(folder)
        found.weights()
        place = self.root / found.document.name / found.document.version
        if place.exists():
            there = read_model(place)
            if there.digest == found.digest:
                return there
            raise BadModel(
                f"the store has another model of the name {found.document.name}@{found.document.version}; give the "
                "new one the next version"
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".raki-", dir=place.parent) as room:
            part = Path(room) / "model"
            part.mkdir()
            for name in sorted(FILES):
                shutil.copyfile(folder / name, part / name, follow_symlinks=False)
            read_model(part)  # what was copied is what was checked
            part.rename(place)
        return read_model(place)

    def next_version(self, name: str) -> str:
        """The first number that is free."""
        versions = self.versions(name)
        return str(_numbers(versions[0])[0] + 1) if versions else "1"

    def _names(self, folder: Path) -> list[str]:
        """Folders that may be a model, or a version: links are none."""
        if not folder.is_dir() or folder.is_symlink():
            return []
        return [
            each.name
            for each in folder.iterdir()
            if each.is_dir() and not each.is_symlink() and (reference(each.name) or reference(f"x@{each.name}"))
        ]


def read_model(folder: Path) -> Kept:
    """One version of a model: its description, and files that are what that says. Weights are not read here.

    Raises:
        BadModel: a file is missing, too many, a link, or other than its digest; or the description is none.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise BadModel(f"{folder.name} is no folder of a model; {', '.join(sorted(FILES))} have to stand in one")
    names = {each.name for each in folder.iterdir()}
    if strange := sorted(names - FILES):
        raise BadModel(
            f"a model is {', '.join(sorted(FILES))} and nothing else, no code and no pickle; this one has "
            f"{', '.join(name[:40] for name in strange[:3])} too"
        )
    if missing := sorted(FILES - names):
        raise BadModel(f"the model lacks {', '.join(missing)}; pull or promote it again")
    for name in sorted(FILES):
        if (folder / name).is_symlink() or not (folder / name).is_file():
            raise BadModel(f"{name} of the model is a link or no plain file; raki follows none out of a store")
    document = parse_document((folder / DOCUMENT).read_bytes())
    for name in (WEIGHTS, CARD):
        found = digest_of(folder / name)
        if found != document.files.get(name):  # type: ignore[call-overload]
            raise BadModel(
                f"{name} of {document.name}@{document.version} is not what {DOCUMENT} says: its SHA-256 is "
                f"{found[:12]}…, not {str(document.files.get(name))[:12]}…"  # type: ignore[call-overload]
            )
    return Kept(folder=folder, document=document, digest=digest_of(folder / DOCUMENT))


def weights_of(path: Path, document: ModelFile | None = None) -> StoredScan:
    """The weights of a file, and that they are what a description says of them.

    Raises:
        BadModel: they can't be used, or are others.
    """
    try:
        found = read_stored(path)
    except (ValueError, OSError) as error:
        raise BadModel(f"the weights can't be used: {error}") from None
    if found.n_virtual_coils is not None:
        raise BadModel(
            f"the weights are of {found.n_virtual_coils} virtual coils, which each scan makes for itself; a result of "
            "all coils is needed (coils = 0)"
        )
    if document is not None and (
        found.method != document.architecture.name
        or found.seed != document.architecture.seed
        or found.made_for != document.made_for
    ):
        raise BadModel(f"{WEIGHTS} is of another scan, method or seed than {DOCUMENT} says: promote the result again")
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
