"""Small sound files of every kind that raki parses, made by its own writers and by the tests' builders."""

import bz2
import gzip
import io
import lzma
import struct
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.export import WRITERS
from raki.formats import open_raw, read_scan
from raki.formats.ismrmrd.stream_writer import write_stream
from raki.inspection.survey.facts import Survey
from raki.inspection.survey.survey import survey_here
from raki.phantom import simulate_scan
from raki.phantom.simulation import complex_noise, scan_header
from raki.scan.header import parse_header
from raki.scan.prepared import write_prepared
from tests.formats.bruker.bruker_files import experiment
from tests.formats.ge.ge_files import p_file
from tests.formats.ismrmrd.version2_files import header_of, item_of, written
from tests.formats.philips.philips_files import scan_2d
from tests.formats.twix.twix_files import image_lines, vb_file, vd_file, vd_measurement

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """One small scan, as an ISMRMRD file and by what is in it."""

    hdf5: bytes
    stream: bytes
    header_xml: str
    heads: np.ndarray


@cache
def simulated() -> Simulated:
    with TemporaryDirectory() as folder:
        path, stream = Path(folder) / "scan.h5", Path(folder) / "scan.mrd"
        simulate_scan(path, n_slices=1, n_coils=2, matrix=16, acceleration=2, n_acs_lines=6)
        with open_raw([path]) as (_, acquisitions):
            heads = acquisitions.heads.copy()
            write_stream(acquisitions.header_xml, heads, acquisitions.samples(np.arange(len(heads))), stream)
            xml = acquisitions.header_xml
        return Simulated(hdf5=path.read_bytes(), stream=stream.read_bytes(), header_xml=xml, heads=heads)


def exported(suffix: str, beside: str | None = None) -> tuple[bytes, bytes]:
    """The scan as one of raki's writers leaves it, and what lies beside that."""
    with TemporaryDirectory() as folder:
        raw, target = Path(folder) / "raw.h5", Path(folder) / f"scan{suffix}"
        raw.write_bytes(simulated().hdf5)
        WRITERS[suffix](read_scan(raw), target)
        return target.read_bytes(), target.with_suffix(beside).read_bytes() if beside else b""


@cache
def mrd2() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scan.h5"
        path.write_bytes(simulated().hdf5)
        with ismrmrd.Dataset(path, mode="r") as dataset:
            items = [item_of(dataset.read_acquisition(n)) for n in range(dataset.number_of_acquisitions())]
        return written(header_of(parse_header(simulated().header_xml)), items)


def prepared() -> bytes:
    with TemporaryDirectory() as folder:
        raw, target = Path(folder) / "raw.h5", Path(folder) / "prepared"
        raw.write_bytes(simulated().hdf5)
        write_prepared(read_scan(raw), target)
        return target.read_bytes()


def fastmri() -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as archive:
        archive["kspace"] = complex_noise(np.random.default_rng(0), (1, 2, 16, 12))
        archive["mask"] = np.arange(12) % 2 == 0
        archive["ismrmrd_header"] = xsd.ToXML(scan_header(1, 2, 16, 2))
    return file.getvalue()


def twix_vd() -> bytes:
    return vd_file(vd_measurement(image_lines(n_coils=2)))


def twix_vb() -> bytes:
    return vb_file(image_lines(n_coils=2))


@cache
def ge() -> bytes:
    samples = np.random.default_rng(0).integers(-99, 99, (1, 2, 8, 8, 2))
    return p_file(samples[..., 0] + 1j * samples[..., 1])


def philips() -> list[bytes]:
    """A pair as it is, and one of EPI with corrections and noise."""
    images = complex_noise(np.random.default_rng(0), (1, 2, 8, 8))
    epi = {"signs": [-1, 1] * 4, "phx": np.ones((2, 8)), "noise": images[0, :, 0], "oversampling": (1.0, 1.0)}
    pairs = scan_2d(images, oversampling=(1.0, 1.0)), scan_2d(images, **epi)
    return [in_parts(*pair.content()[::-1]) for pair in pairs]


def paravision(version: str) -> bytes:
    """The files of an experiment: samples, `method`, `acqp`."""
    made = experiment(
        lambda *_: complex_noise(np.random.default_rng(0), (2, 8)) * 99,
        n_receivers=2,
        n_read=8,
        steps=list(range(-4, 4)),
        offsets_mm=[(0, 1, 0), (0, 1, 2)],
        n_echoes=2,
        version=version,
        word="STORE_32bit_signed" if "360" in version else "GO_32BIT_SGN_INT",
        block="continuous",
    )
    files = made.files()
    return in_parts(files[made.name], files["method"], files["acqp"])


@cache
def members() -> tuple[tuple[str, bytes], ...]:
    """What the archives hold: an array with its description, the options, and a note."""
    array, description = exported(".npy", ".json")
    options = b'[reconstruction]\nmethod = "grappa"\n'
    return (("scan/a.npy", array[:1024]), ("scan/a.json", description), ("raki.toml", options), ("note.txt", b"hello"))


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in members():
            info = tarfile.TarInfo(name if "note" not in name else name * 30)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo(f"other{kind.decode()}")
            info.type, info.linkname = kind, "scan/a.npy"
            archive.addfile(info)
    # Two empty blocks end it; the library fills up to twenty.
    content = file.getvalue().rstrip(b"\0")
    return content.ljust((len(content) + 511) // 512 * 512 + 1024, b"\0")


def zipped(*, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members():
            archive.writestr(name, content)
    return file.getvalue()


def lzma_alone(content: bytes) -> bytes:
    return lzma.compress(content, format=lzma.FORMAT_ALONE, preset=0)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, 1, mtime=0),
    "zstd": zstd.compress,
    "xz": lambda content: lzma.compress(content, preset=0),
    "bzip2": bz2.compress,
    "lzma": lzma_alone,
}


def in_parts(*parts: bytes) -> bytes:
    """Several contents as one, so that each keeps its beginning when another's length changes."""
    return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def parts_of(content: bytes) -> Iterator[bytes]:
    """The contents that `in_parts` joined, whatever became of them."""
    while content:
        (n_bytes,) = struct.unpack("<I", content[:4].ljust(4, b"\0"))
        yield content[4 : 4 + n_bytes]
        content = content[4 + n_bytes :]


def npz_members() -> bytes:
    """Names and contents of the members, which in the file stand behind checksums."""
    with zipfile.ZipFile(io.BytesIO(exported(".npz")[0])) as archive:
        return in_parts(*(part for name in archive.namelist() for part in (name.encode(), archive.read(name))))


def survey() -> Survey:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "scan.h5"
        path.write_bytes(simulated().hdf5)
        return survey_here([path])
