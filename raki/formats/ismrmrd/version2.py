"""MRD version 2: ISMRMRD's successor, a stream that begins with its own schema; read by its own library, `mrd`.

Heads and header mean what they mean in ISMRMRD and have its names, written otherwise: they are translated. The library
hands on one item after the other and can't go back to one, so that samples are held in memory; the reader that a file
of strangers meets has a limit for it.

https://ismrmrd.github.io/mrd (schema, stream of items); https://microsoft.github.io/yardl (its binary form).
"""

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from ismrmrd import xsd
from jaxtyping import Complex64, Int
from xsdata.models.datatype import XmlDate

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats.acquisitions import HEAD, Format, require_measured

MAGIC = b"yardl"
# What the library raises of a file that isn't as it should be; a type that it doesn't know is a RuntimeError too.
OF_DAMAGE = (RuntimeError, ValueError, TypeError, LookupError, EOFError, OverflowError, BufferError)
LISTS = ("physiology_time_stamp", "user_int", "user_float")
VECTORS = ("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position")
NUMBERS = ("measurement_uid", "scan_counter", "acquisition_time_stamp", "encoding_space_ref", "sample_time_us")
CUTS = ("discard_pre", "discard_post", "center_sample")


class Mrd2:
    """The header and the acquisitions of one stream; see `raki.formats.acquisitions.Acquisitions`."""

    def __init__(self, header_xml: str, heads: np.ndarray, kept: list[np.ndarray], remarks: tuple[str, ...]) -> None:
        self.header_xml, self.heads, self._kept, self.remarks = header_xml, heads, kept, remarks
        self.cut_from = 1 if remarks else None

    def samples(self, wanted: Int[np.ndarray, " wanted"]) -> Iterator[Complex64[np.ndarray, "coil kept"]]:
        """The kept samples of the wanted acquisitions, in the order asked for."""
        for index in wanted.tolist():
            head, samples = self.heads[index], self._kept[index]
            require_measured(samples.view(np.float32), index)
            yield samples[:, int(head["discard_pre"]) : samples.shape[1] - int(head["discard_post"])]


@contextmanager
def open_version2(path: Path) -> Iterator[Mrd2]:
    """Opens a file that holds one stream of MRD version 2.

    Raises:
        UnsupportedScan: of another version of the schema than the library's.
        DamagedScan: the stream ends before its first acquisition, or is none from some byte on.
        NotAScan: no acquisitions: images, or what a step of a reconstruction hands to the next.
    """
    from mrd import BinaryMrdReader  # noqa: PLC0415  # a twentieth of a second, of those who have such a file

    with path.open("rb") as file:
        try:
            reader = BinaryMrdReader(file)
            header = reader.read_header()
        except RuntimeError as error:
            raise _not_of_this_schema(error) from None
        except OF_DAMAGE as error:
            raise _damaged(error, 0) from None
        if header is None:
            raise DamagedScan("the MRD stream has no header; raki needs it: convert the scan again")
        yield _read(translated(header), reader.read_data())


def looks_like_version2(start: bytes) -> bool:
    """Whether a file begins as MRD version 2: with its schema, which names the protocol."""
    return start.startswith(MAGIC) and b'"Mrd"' in start


def translated(header: Any) -> str:
    """The ISMRMRD header (XML) of a header of version 2, whose fields have the same names, cases and underlines aside.

    Raises:
        DamagedScan: a value that the other schema has no place for.
    """
    try:
        return str(xsd.ToXML(_as(xsd.ismrmrdHeader, header)))
    except OF_DAMAGE as error:
        raise _damaged(error, 0) from None


def _read(header_xml: str, items: Iterable[Any]) -> Mrd2:
    from mrd import StreamItem  # noqa: PLC0415

    heads, kept, n_others = list[np.ndarray](), list[np.ndarray](), 0
    remarks: tuple[str, ...] = ()
    try:
        for item in items:
            if not isinstance(item, StreamItem.Acquisition):
                n_others += 1
                continue
            heads.append(_head(item.value, len(heads)))
            kept.append(np.ascontiguousarray(item.value.data, np.complex64))
    except OF_DAMAGE as error:
        if not heads:
            raise _damaged(error, 0) from None
        remarks = (
            f"The MRD stream breaks off after {len(heads)} acquisitions: the scan was stopped, or the copy is not "
            "whole.",
        )
    if not heads:
        raise NotAScan(
            f"the MRD stream holds {n_others} items and no acquisitions; raki needs raw data, not images: export it"
        )
    return Mrd2(header_xml, np.array(heads, HEAD), kept, remarks)


def _head(acquisition: Any, index: int) -> np.ndarray:
    """An acquisition's head as ISMRMRD has it; what isn't set is zero there."""
    theirs, head = acquisition.head, np.zeros((), HEAD)
    n_coils, n_samples = acquisition.data.shape
    values = {
        "version": 1,
        "flags": int(theirs.flags),
        "number_of_samples": n_samples,
        "active_channels": n_coils,
        "available_channels": n_coils,
        "trajectory_dimensions": acquisition.trajectory.shape[0] if acquisition.trajectory.size else 0,
        **{name: getattr(theirs, name) or 0 for name in NUMBERS},
        **{name: getattr(theirs, name) or 0 for name in CUTS},
    }
    if theirs.center_sample is None:
        values["center_sample"] = n_samples // 2
    counters = {name: getattr(theirs.idx, name) or 0 for name in HEAD["idx"].names if name != "user"}
    for name, value in (*values.items(), *(("idx", each) for each in counters.items())):
        target, field, number = (head["idx"], *value) if name == "idx" else (head, name, value)
        if not 0 <= number <= _largest(target.dtype[field]):
            raise DamagedScan(
                f"acquisition {index} of the MRD stream has {number} as its {field}; ISMRMRD counts to "
                f"{_largest(target.dtype[field]):g}: convert the scan again"
            )
        target[field] = number
    if values["discard_pre"] + values["discard_post"] > n_samples:
        raise DamagedScan(f"acquisition {index} of the MRD stream discards more than its {n_samples} samples")
    for name in VECTORS:
        head[name] = np.asarray(getattr(theirs, name), np.float32)[:3]
    _fill(head["idx"]["user"], theirs.idx.user)
    for name in LISTS:
        _fill(head[name], getattr(theirs, name))
    return head


def _largest(of: np.dtype) -> float:
    return float(np.iinfo(of).max if of.kind in "ui" else np.finfo(of).max)


def _fill(places: np.ndarray, values: list[Any]) -> None:
    """As many as there are places; more are of no meaning to raki."""
    n = min(len(places), len(values))
    places[:n] = np.array(values[:n]).astype(places.dtype)


def _as(kind: Any, value: Any) -> Any:
    """A value of version 2 as a type of the other schema; None where there is none, or no way to write it."""
    if get_origin(kind) in (Union, UnionType):
        return None if value is None else _as(next(each for each in get_args(kind) if each is not type(None)), value)
    if get_origin(kind) is list:
        return [_as(get_args(kind)[0], each) for each in value]
    if dataclasses.is_dataclass(kind):
        return _as_record(kind, value)
    if kind is XmlDate:
        return XmlDate.from_date(value) if isinstance(value, date) else None
    if isinstance(value, Enum):
        names = {_plain(member.name): member for member in kind} if issubclass(kind, Enum) else {}
        return names.get(_plain(value.name)) or (value.name if kind is str else None)
    return kind(value) if kind in (int, float, str) else None


def _as_record(kind: Any, value: Any) -> Any:
    theirs = {_plain(name): each for name, each in vars(value).items()}
    kinds = get_type_hints(kind)
    given = {name: (kinds[name], theirs.get(_plain(name))) for name in (each.name for each in dataclasses.fields(kind))}
    return kind(**{name: _as(of, each) for name, (of, each) in given.items() if each is not None})


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _not_of_this_schema(error: Exception) -> UnsupportedScan:
    return UnsupportedScan(
        f"the file is an MRD stream of another version of the schema than raki reads ({error}); write it with "
        "mrd 2.1, or convert it to ISMRMRD"
    )


def _damaged(error: Exception, n_read: int) -> DamagedScan:
    return DamagedScan(
        f"the MRD stream can't be read after {n_read} acquisitions ({type(error).__name__}); a part of it is "
        "overwritten or missing: copy or convert the scan again"
    )


MRD2 = Format(
    name="MRD version 2", suffixes=(".mrd2", ".mrd", ".bin"), recognises=looks_like_version2, open=open_version2
)
