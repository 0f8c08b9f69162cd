"""Whether a result comes out again: what was made of which raw file, how, and where what is made of it now differs."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
from nibabel.filebasedimages import ImageFileError

from raki.errors import PermanentError
from raki.manifest import MANIFEST
from raki.options import NAMES, Chosen, choose
from raki.results.provenance import software_versions
from raki.results.weights import read_weights

PROVENANCE = "provenance.json"
ADDED_SINCE = ("weights", "quantities", "kspace", "explain", "model", "mismatch")
"""Options that results of an earlier raki don't name."""
ARRAYS = (".h5", ".nii.gz", ".safetensors")
PLACE = ("field_of_view", "position", "read_dir", "phase_dir", "slice_dir")
"""Of an ISMRMRD image's header: where the image lies in the patient."""


class DamagedResult(PermanentError):
    """A folder of results is not as raki wrote it."""

    exit_code = 40


class NotReproduced(PermanentError):
    """What is made of the raw file now is not what the folder holds."""

    exit_code = 41


@dataclass(frozen=True, kw_only=True)
class EarlierResult:
    """A folder of results, and what it says of itself."""

    folder: Path
    manifest: Mapping[str, Any]
    facts: Mapping[str, Any]
    """Of its provenance."""

    @property
    def chosen(self) -> Chosen:
        """The options that it was made with.

        Raises:
            DamagedResult: they aren't there, or are none.
        """
        try:
            options = self.facts["options"]
            # An option that the result's raki didn't know yet was as it is by default.
            known = [name for name in NAMES if name in options or name not in ADDED_SINCE]
            return choose({"provenance": {name: options[name]["value"] for name in known}})
        except (TypeError, LookupError, ValueError) as error:
            raise DamagedResult(
                f"the options of the result can't be read from its {PROVENANCE} ({error}); raki needs a result that "
                "`raki reconstruct` or the service wrote"
            ) from None

    def changed_files(self) -> list[str]:
        """Names of the files that are missing, or other than the manifest says."""
        return [
            entry["name"] for entry in self.manifest["files"] if _digest(self.folder / entry["name"]) != entry["sha256"]
        ]

    @property
    def source_sha256(self) -> str:
        """Of the raw file, in hexadecimal; empty where it isn't told."""
        return str(_table(self.facts, "input").get("sha256", ""))

    def dicom_files(self, *, single: bool = False) -> list[Path]:
        """The DICOM files of the result: of all slices in one, or `single` ones, of a slice each.

        Raises:
            DamagedResult: there are none, or one is missing or other than the manifest says.
        """
        folder = Path("dicom") if single else Path()
        listed = [entry for entry in self.manifest["files"] if Path(entry["name"]).match("*.dcm")]
        wanted = [entry for entry in listed if Path(entry["name"]).parent == folder]
        if not wanted:
            raise DamagedResult(
                "the result has no single DICOM images; `raki reconstruct --dicom` writes them"
                if single
                else "the result has no DICOM images; raki needs a result that `raki reconstruct` or the service wrote"
            )
        for entry in wanted:
            if _digest(self.folder / entry["name"]) != entry["sha256"]:
                raise DamagedResult(
                    f"{entry['name']} is missing or not what the manifest says, and nothing was sent; raki needs the "
                    "folder of one run, as it was written"
                )
        return [self.folder / entry["name"] for entry in wanted]

    def other_software(self) -> Iterator[str]:
        """What has another version now, as "torch 2.13.0 then, 2.14.0 now"."""
        then = _table(self.facts, "software")
        for name, version in software_versions().items():
            if then.get(name) != version:
                yield f"{name} {then.get(name, 'unknown')} then, {version} now"


def read_result(path: Path) -> EarlierResult:
    """The result that a manifest, or the folder in which it lies, stands for.

    Raises:
        DamagedResult: manifest or provenance isn't there or isn't raki's, or no image was made.
    """
    folder = path if path.is_dir() else path.parent
    manifest, facts = (_read_json(folder / name) for name in (MANIFEST, PROVENANCE))
    entries = manifest.get("files")
    if not isinstance(entries, list) or not all(_is_entry(entry) for entry in entries):
        raise DamagedResult(f"{MANIFEST} lists no files; raki needs the manifest that stands beside a result")
    return EarlierResult(folder=folder, manifest=manifest, facts=facts)


def differences(earlier: Path, now: Path) -> dict[str, str]:
    """By the names of the files with images, maps or weights in either folder: how these differ; empty where not.

    Of images, what counts are values and where they lie in the patient; of weights it names the images whose kernels
    differ.
    """
    names = {path.name for folder in (earlier, now) for path in folder.iterdir() if path.name.endswith(ARRAYS)}
    return {name: _difference(earlier / name, now / name) for name in sorted(names)}


def _difference(then: Path, now: Path) -> str:
    if not (then.exists() and now.exists()):
        return "only then" if then.exists() else "only now"
    if then.suffix == ".safetensors":
        return _difference_of_weights(_weights(then), _weights(now))
    (before, lay), (after, lies) = _content(then), _content(now)
    moved = "" if lay == lies else "the same values at another place in the patient"
    return _difference_of_arrays(before, after) or moved


def _difference_of_weights(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> str:
    """By image, all that differ."""
    names = sorted(before.keys() | after.keys())
    found = {
        name: _difference_of_arrays(before[name], after[name]) for name in names if name in before and name in after
    }
    return "; ".join(
        f"{name}: {found[name]}" if name in found else f"{name} only {'then' if name in before else 'now'}"
        for name in names
        if found.get(name, "other")
    )


def _difference_of_arrays(before: np.ndarray, after: np.ndarray) -> str:
    if before.shape != after.shape:
        return f"{before.shape} then, {after.shape} now"
    if before.tobytes() == after.tobytes():
        return ""
    if before.dtype.kind not in "biufc":
        return f"{before.dtype} then, {after.dtype} now"
    apart = np.abs(np.subtract(before, after, dtype=np.result_type(before, np.float64)))
    top = float(np.nanmax(np.abs(before))) or 1.0
    return (
        f"{np.count_nonzero(before != after)} of {before.size} values, by {float(np.nanmax(apart)) / top:.1e} at most"
    )


def _content(path: Path) -> tuple[np.ndarray, bytes]:
    """The values, and where they lie."""
    try:
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                heads = file["dataset/image_0/header"][:]
                return np.asarray(file["dataset/image_0/data"][:]), b"".join(heads[name].tobytes() for name in PLACE)
        image = nibabel.load(path)
        return np.asarray(image.dataobj), np.asarray(image.affine).tobytes()
    except (OSError, LookupError, TypeError, ValueError, EOFError, AttributeError, ImageFileError) as error:
        raise DamagedResult(
            f"{path.name} can't be read ({type(error).__name__}); raki needs it as it was written"
        ) from None


def _weights(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_weights(path)[0]
    except (OSError, ValueError):
        raise DamagedResult(f"{path.name} can't be read; raki needs it as it was written") from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DamagedResult(f"there is no {path.name} in the folder; raki needs the folder of one result") from None
    except (OSError, ValueError):
        raise DamagedResult(f"{path.name} is no JSON; raki needs it as it was written") from None
    if not isinstance(content, dict):
        raise DamagedResult(f"{path.name} holds no facts on a result; raki needs it as it was written")
    return content


def _table(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = facts.get(name)
    return found if isinstance(found, Mapping) else {}


def _is_entry(entry: Any) -> bool:
    name, digest = (entry.get(key) if isinstance(entry, dict) else None for key in ("name", "sha256"))
    return (
        isinstance(name, str)
        and isinstance(digest, str)
        and ".." not in Path(name).parts
        and not Path(name).is_absolute()
    )


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
