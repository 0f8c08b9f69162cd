"""Every parser and unpacker of raki as a function of bytes, with sound inputs that a fuzzer begins from.

Where a checksum or compression would hide a parser, the bytes are what stands behind it, and are packed anew.
"""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from jaxtyping import Complex64

from benchmarks import fuzz_seeds as seeds
from benchmarks.fuzz_ends import Target
from raki.archive import open_local, unpack
from raki.errors import RakiError
from raki.formats import formats, open_raw
from raki.formats.acquisitions import HEAD
from raki.formats.ismrmrd.hdf5_writer import write_hdf5
from raki.formats.scan_reader import sorted_scan
from raki.identity.deidentification import deidentify, read_identity
from raki.identity.header import identity_in_header, scrub_header
from raki.identity.person import Identity
from raki.inspection.survey.facts import Survey
from raki.inspection.survey.header import kind_of, origin_of, timing_of
from raki.inspection.survey.survey import survey_acquisitions
from raki.options import read_options
from raki.phantom.simulation import complex_noise
from raki.prepare import preprocess
from raki.sandbox.answers import OtherForm, decoded, encoded
from raki.scan.header import parse_header, require_supported
from raki.scan.prepared import open_prepared
from tests.formats.ge.ge_files import CORNERS, FLOATS, HEADER_BYTES, LONGS, SHORTS
from tests.formats.twix.twix_files import DICOM, PROTOCOL, buffers, image_lines, vd_file, vd_line, vd_measurement

NO_TOKEN = "raki-ffffffffffffffff"
MOST_SAMPLES = 4096
"""Of a line that is made from mutated heads, which may announce 4 billion."""


def _read_raw(files: Sequence[Path]) -> None:
    """All that raki does with raw files before anything is reconstructed; the first refusal at the end."""
    refused: list[RakiError] = []
    for step in (_survey, _sort):
        try:
            step(files)
        except RakiError as error:
            refused.append(error)
    # Not of every format, which is said.
    with suppress(RakiError):
        read_identity(files[0])
        deidentify(files[0], files[0].with_name("under-a-token"), token=NO_TOKEN)
    if refused:
        raise refused[0]


def _survey(files: Sequence[Path]) -> None:
    with open_raw(files) as (format_, acquisitions):
        json.dumps(encoded(survey_acquisitions(format_.name, acquisitions)))


def _sort(files: Sequence[Path]) -> None:
    with open_raw(files) as (_, acquisitions):
        preprocess(sorted_scan(acquisitions)).in_memory()


def _raw(suffix: str, content: bytes, folder: Path) -> None:
    path = folder / f"scan{suffix}"
    path.write_bytes(content)
    _read_raw([path])


def _pair(suffix: str, beside: str, content: bytes, folder: Path) -> None:
    path = folder / f"scan{suffix}"
    for place, part in zip((path.with_suffix(beside), path), seeds.parts_of(content), strict=False):
        place.write_bytes(part)
    _read_raw([path])


def _experiment(samples: str, content: bytes, folder: Path) -> None:
    """Samples and both lists of parameters."""
    for name, part in zip((samples, "method", "acqp"), seeds.parts_of(content), strict=False):
        (folder / name).write_bytes(part)
    _read_raw([folder / "acqp"])


def _table(content: bytes, folder: Path) -> None:
    """Header and heads, which HDF5 stores where random changes rarely leave a file."""
    xml, rows = [*seeds.parts_of(content), b"", b""][:2]
    heads = np.frombuffer(rows[: len(rows) // HEAD.itemsize * HEAD.itemsize], HEAD)
    sizes = np.minimum(heads["number_of_samples"].astype(int) * heads["active_channels"], MOST_SAMPLES)
    random = np.random.default_rng(0)
    samples = [complex_noise(random, (n_samples,)) for n_samples in sizes.tolist()]
    path = folder / "scan.h5"
    write_hdf5(xml.decode(errors="replace").replace("\0", ""), [(heads, samples)], path)
    _read_raw([path])


def _header(content: bytes, _: Path) -> None:
    xml = content.decode(errors="replace")
    header = parse_header(xml)
    origin_of(header), timing_of(header, header.encoding[0])
    kind_of(header.encoding[0], n_slices=1, n_partitions=1)
    identity_in_header(xml)
    scrub_header(xml, NO_TOKEN)
    require_supported(header.encoding[0])


def _twix_text(content: bytes, folder: Path) -> None:
    """The text buffers of a measurement, around sound lines."""
    names = list(buffers({}, {}))
    texts = dict(zip(names, seeds.parts_of(content), strict=False))
    _raw(".dat", vd_file(_measurement(texts)), folder)


def _measurement(texts: dict[str, bytes]) -> bytes:
    body = b"".join(name.encode() + b"\0" + struct.pack("<I", len(text)) + text for name, text in texts.items())
    n_bytes = max((8 + len(body) + 31) // 32 * 32, 10_016)
    header = (struct.pack("<II", n_bytes, len(texts)) + body).ljust(n_bytes, b"\0")
    lines = b"".join(vd_line(line, number) for number, line in enumerate(image_lines(n_coils=2), 1))
    whole = vd_measurement([])
    end = whole[-352:]
    return header + lines + end


def _twix_texts() -> list[bytes]:
    return [seeds.in_parts(*buffers(PROTOCOL, DICOM).values())]


def _ge_places() -> list[tuple[int, int]]:
    """Where a P-file's fields stand, and their sizes: they are a hundredth of its header."""
    sized = [(places[1], n) for table, n in ((SHORTS, 2), (LONGS, 4), (FLOATS, 4)) for places in table.values()]
    return sorted([(0, 4), (CORNERS[1], 36), (36864, 72), *sized])


def _ge_fields(content: bytes, folder: Path) -> None:
    file = bytearray(seeds.ge())
    for at, n_bytes in _ge_places():
        file[at : at + n_bytes] = content[:n_bytes].ljust(n_bytes, b"\0")
        content = content[n_bytes:]
    _raw(".7", bytes(file[: HEADER_BYTES[1]]) + content, folder)


def _ge_content() -> bytes:
    file = seeds.ge()
    return b"".join(file[at : at + n] for at, n in _ge_places()) + file[HEADER_BYTES[1] :]


def _npz_members(content: bytes, folder: Path) -> None:
    path = folder / "scan.npz"
    parts = list(seeds.parts_of(content))
    names = [name[:64].decode(errors="replace").replace("\0", "_") or "_" for name in parts[::2]]
    members = dict(zip(names, parts[1::2], strict=False))
    with zipfile.ZipFile(path, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    _read_raw([path])


def _prepared(content: bytes, folder: Path) -> None:
    path = folder / "prepared"
    path.write_bytes(content)
    with open_prepared(path) as scan:
        scan.in_memory()


def _archive(content: bytes, folder: Path) -> None:
    unpack(io.BytesIO(content), folder, formats=formats())


def _local_zip(content: bytes, folder: Path) -> None:
    path = folder / "scan.zip"
    path.write_bytes(content)
    into = folder / "into"
    into.mkdir()
    open_local(path, into, formats=formats())


def _tar(content: bytes, folder: Path) -> None:
    """With the checksum that each header should have, where one may stand."""
    mended = bytearray(content)
    for at in range(0, len(mended) - tarfile.BLOCKSIZE + 1, tarfile.BLOCKSIZE):
        block = mended[at : at + tarfile.BLOCKSIZE]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            mended[at + 148 : at + 156] = b"%06o\0 " % sum(block)
    _archive(bytes(mended), folder)


def _packed(name: str, content: bytes, folder: Path) -> None:
    _archive(seeds.PACKERS[name](content), folder)


def _packed_tar(name: str) -> list[bytes]:
    return [seeds.PACKERS[name](seeds.tar())]


FORMS: tuple[Any, ...] = (list[Path], Survey, Identity, Path, NoneType, Complex64[np.ndarray, "coil sample"])


def _answer(content: bytes, _: Path) -> None:
    with suppress(OtherForm):
        decoded(content[1:], FORMS[content[0] % len(FORMS)] if content else None)


def _answers() -> list[bytes]:
    values = [[Path("a")], seeds.survey(), Identity(), Path("a"), None, np.zeros((1, 1), np.complex64)]
    return [bytes([number]) + json.dumps({"returned": encoded(value)}).encode() for number, value in enumerate(values)]


def _options(content: bytes, _: Path) -> None:
    read_options(content)


def _table_content() -> bytes:
    return seeds.in_parts(seeds.simulated().header_xml.encode(), seeds.simulated().heads[15:].tobytes())


TARGETS: dict[str, Target] = {
    "ismrmrd_hdf5": Target(read=partial(_raw, ".h5"), seeds=lambda: [seeds.simulated().hdf5]),
    "ismrmrd_table": Target(read=_table, seeds=lambda: [_table_content()]),
    "ismrmrd_stream": Target(read=partial(_raw, ".mrd"), seeds=lambda: [seeds.simulated().stream]),
    "mrd2": Target(read=partial(_raw, ".bin"), seeds=lambda: [seeds.mrd2()]),
    "ismrmrd_header": Target(read=_header, seeds=lambda: [seeds.simulated().header_xml.encode()]),
    "fastmri": Target(read=partial(_raw, ".h5"), seeds=lambda: [seeds.fastmri()]),
    "twix": Target(read=partial(_raw, ".dat"), seeds=lambda: [seeds.twix_vd(), seeds.twix_vb()]),
    "twix_text": Target(read=_twix_text, seeds=_twix_texts),
    "ge_fields": Target(read=_ge_fields, seeds=lambda: [_ge_content()]),
    "bart": Target(
        read=partial(_pair, ".hdr", ".cfl"), seeds=lambda: [seeds.in_parts(*seeds.exported(".hdr", ".cfl")[::-1])]
    ),
    "npy": Target(
        read=partial(_pair, ".npy", ".json"), seeds=lambda: [seeds.in_parts(*seeds.exported(".npy", ".json")[::-1])]
    ),
    "philips": Target(read=partial(_pair, ".list", ".data"), seeds=seeds.philips),
    "paravision": Target(read=partial(_experiment, "fid"), seeds=lambda: [seeds.paravision("PV 6.0.1")]),
    "paravision_360": Target(read=partial(_experiment, "rawdata.job0"), seeds=lambda: [seeds.paravision("PV-360.3.6")]),
    "npz": Target(read=partial(_raw, ".npz"), seeds=lambda: [seeds.exported(".npz")[0]]),
    "npz_members": Target(read=_npz_members, seeds=lambda: [seeds.npz_members()]),
    "prepared": Target(read=_prepared, seeds=lambda: [seeds.prepared()]),
    "options": Target(read=_options, seeds=lambda: [b'[reconstruction]\nmethod = "grappa"\ncoils = 4\nmaps = true\n']),
    "answers": Target(read=_answer, seeds=_answers),
    "tar": Target(read=_tar, seeds=lambda: [seeds.tar()]),
    "zip": Target(read=_archive, seeds=lambda: [seeds.zipped()]),
    "zip_file": Target(read=_local_zip, seeds=lambda: [seeds.zipped(method=zipfile.ZIP_STORED)]),
    **{name: Target(read=_archive, seeds=partial(_packed_tar, name)) for name in seeds.PACKERS},
    **{f"within_{name}": Target(read=partial(_packed, name), seeds=lambda: [seeds.tar()]) for name in ("gzip", "zstd")},
}


def target_of(name: str) -> Target:
    """The parser of this name. DICOM takes torch and all of pydicom, for which the others don't wait."""
    if name == "dicom":
        from benchmarks.fuzz_dicom import IMAGES  # noqa: PLC0415

        return IMAGES
    return TARGETS[name]


NAMES = (*TARGETS, "dicom")
