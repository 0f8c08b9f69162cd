"""numpy's files: `.npz` with k-space, what its axes are and what else is known; `.npy` with a `.json` that tells it.

The names are those of `raki.formats.arrays.description.Description`, and `kspace`, `noise` and `acs` for arrays.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from raki.archive import ZIP_MAGIC
from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.acquisitions import Format
from raki.formats.arrays.description import Description
from raki.formats.arrays.npy_mapping import MAGIC, damage_is_named, mapped_array
from raki.formats.arrays.npz_members import LOCAL_HEADER, mapped_members
from raki.formats.arrays.scan import ArrayAcquisitions

ARRAYS = ("kspace", "noise", "acs")
LARGEST_JSON_BYTES = 1 << 20
LARGEST_CODE_POINT = 0x10FFFF
LARGEST_VALUE_BYTES = 1 << 12


@contextmanager
def open_npz(path: Path) -> Iterator[ArrayAcquisitions]:
    """Opens an archive with the arrays `kspace` and `axes`, and maybe `noise`, `acs` and other fields.

    Raises:
        NotAScan: an archive of arrays without k-space, or with nothing but zeros in it.
        UnsupportedScan: axes or fields that raki doesn't know, or none.
        DamagedScan: the archive is broken, or its arrays contradict each other.
    """
    with TemporaryDirectory() as folder:
        members = mapped_members(path, Path(folder))
        if "kspace" not in members:
            raise NotAScan(
                f"the archive holds {len(members)} arrays, none of the name 'kspace'; raki needs 'kspace' and 'axes': "
                "save it again with both"
            )
        told = {name: _value(array) for name, array in members.items() if name not in ARRAYS}
        description = Description.from_fields(told)
        kspace, noise, acs = (members.get(name) for name in ARRAYS)
        assert kspace is not None
        yield ArrayAcquisitions(kspace, description, noise=noise, acs=acs)


@contextmanager
def open_npy(path: Path) -> Iterator[ArrayAcquisitions]:
    """Opens an array of k-space; a JSON file of the same name beside it tells the axes and maybe other fields.

    Raises:
        UnsupportedScan: there is no such file, or it names axes or fields that raki doesn't know.
        DamagedScan: the file is broken, or the description contradicts it.
        NotAScan: nothing but zeros.
    """
    kspace = mapped_array(path, "kspace")
    beside = path.with_suffix(".json")
    if not beside.is_file():
        raise UnsupportedScan(
            f"the file holds an array of {' x '.join(map(str, kspace.shape))} and nothing says what its axes are; raki "
            'needs a file of the same name that ends in .json beside it, which holds {"axes": "slice coil pe ro"} with '
            "the axes' names in the array's order"
        )
    yield ArrayAcquisitions(kspace, Description.from_fields(_json_fields(beside)))


def _json_fields(path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        content = file.read(LARGEST_JSON_BYTES + 1)
    try:
        told = json.loads(content) if len(content) <= LARGEST_JSON_BYTES else None
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise DamagedScan(
            "the .json beside the array isn't an object of JSON; raki needs one such as "
            '{"axes": "slice coil pe ro"}: write it again'
        )
    return told


def _value(array: np.ndarray) -> object:
    """A field of the description: a text, a number, or a list of them."""
    if array.nbytes > LARGEST_VALUE_BYTES:
        raise UnsupportedScan(
            f"the archive holds an array of {array.nbytes} bytes beside 'kspace' that is none of {', '.join(ARRAYS)}; "
            f"fields of the description have at most {LARGEST_VALUE_BYTES}: leave it out"
        )
    if array.dtype.kind == "U":
        codes = np.frombuffer(array.tobytes(), np.dtype("u4").newbyteorder(array.dtype.byteorder))
        # Python makes a text of these, and fails wherever it is used.
        if codes.max(initial=0) > LARGEST_CODE_POINT:
            raise DamagedScan("a text in the archive holds numbers that are no letters; save it again")
    with damage_is_named():
        value: object = np.char.decode(array, "ascii").tolist() if array.dtype.kind == "S" else array.tolist()
    return value


def _is_npz(start: bytes) -> bool:
    """A zip archive whose first member is an array."""
    if not start.startswith(ZIP_MAGIC) or len(start) < LOCAL_HEADER.size:
        return False
    n_name = LOCAL_HEADER.unpack_from(start)[-2]
    return start[LOCAL_HEADER.size : LOCAL_HEADER.size + n_name].endswith(b".npy")


NUMPY_NPY = Format(
    name="numpy npy",
    suffixes=(".npy",),
    recognises=lambda start: start.startswith(MAGIC),
    open=open_npy,
    companions=(".json",),
)
NUMPY_NPZ = Format(name="numpy npz", suffixes=(".npz",), recognises=_is_npz, open=open_npz)
