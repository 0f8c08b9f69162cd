"""Images that came back under a token get their patient again. On site, where the token map is."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pydicom
from pydicom.dataset import Dataset

from raki.errors import DamagedScan, NotAScan, RakiError
from raki.identity.person import Identity
from raki.identity.tokens import TokenMap
from raki.results.dicom_identity import set_identity

PREAMBLE_BYTES = 132


def reidentify(folder: Path, token_map: Path, out: Path) -> list[Path]:
    """Writes the DICOM images of a folder, and of those in it, with the identity that their PatientID stands for.

    Patient, study, institution and device become the original's, as far as the raw file told them: the images then
    belong to the original study. Series, image and frame of reference stay raki's own. Either all images are written
    or none. Other files are left alone.

    Returns:
        The written files, under their own names in `out`.

    Raises:
        NotAScan: no DICOM images.
        DamagedScan: an image can't be read.
        UnknownToken: the map doesn't know an image's token.
        DamagedTokenMap: the file is not a token map.
    """
    images = [path for path in sorted(folder.rglob("*")) if _is_dicom(path)]
    if not images:
        raise NotAScan("there are no DICOM images in the folder; raki needs those that it wrote: name their folder")
    tokens = TokenMap(token_map)
    identities: dict[str, Identity] = {}
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out) as scratch:
        parts = [Path(scratch) / f"{number}.dcm" for number in range(len(images))]
        for image, part in zip(images, parts, strict=True):
            with _damage_is_named():
                dataset = _read(image)
                token = str(dataset.get("PatientID", ""))
                if token not in identities:
                    identities[token] = tokens.identity_of(token)
                _restore(dataset, identities[token])
                dataset.save_as(part, enforce_file_format=True)
        targets = [out / image.relative_to(folder) for image in images]
        for part, target in zip(parts, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            part.replace(target)
    return targets


def _restore(dataset: Dataset, identity: Identity) -> None:
    # A scan without a name or ID has none again: no image keeps the token.
    dataset.PatientName, dataset.PatientID = None, None
    dataset.SpecificCharacterSet = "ISO_IR 192"
    set_identity(dataset, identity)


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(PREAMBLE_BYTES)[128:] == b"DICM"


def _read(path: Path) -> Dataset:
    dataset = pydicom.dcmread(path)
    dataset.decode()
    # Where a file ends between two elements, or within the head of one, pydicom takes it for the end.
    n_bytes = dataset.Rows * dataset.Columns * dataset.BitsAllocated // 8
    if len(dataset.PixelData) < n_bytes:
        raise EOFError
    return dataset


@contextmanager
def _damage_is_named() -> Iterator[None]:
    try:
        yield
    except RakiError:
        raise
    # Elements are converted when they are first looked at, and pydicom's errors have no class in common.
    except Exception as error:
        if isinstance(error, OSError) and error.errno:  # of the disk
            raise
        raise DamagedScan(
            f"a DICOM image can't be read ({type(error).__name__}); raki needs it as it was written: copy it again"
        ) from None
