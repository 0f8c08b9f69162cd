"""From a dropped archive to the prepared scan: bytes a second and memory, beside the programs that only unpack."""

import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import ismrmrd
import numpy as np
import typer
from ismrmrd import xsd
from ismrmrd.hdf5 import acquisition_dtype
from rich.table import Table

from benchmarks.plots import plot_stages
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from raki.formats.acquisitions import flag_bits
from raki.formats.ismrmrd.hdf5_writer import in_batches, write_hdf5
from raki.formats.ismrmrd.stream_writer import write_stream
from raki.phantom.simulation import sampled_lines, scan_header

N_COILS, MATRIX, ACCELERATION, N_ACS_LINES = 32, 256, 2, 24
# Longer than any packer looks back: the noise may then repeat without packing any better.
NOISE_ACQUISITIONS = 1024

UNPACKERS = {
    "tar": ["tar", "-xf", "{archive}", "-C", "{folder}"],
    "tar.zst": ["tar", "--zstd", "-xf", "{archive}", "-C", "{folder}"],
    "tar.gz": ["tar", "-xzf", "{archive}", "-C", "{folder}"],
}


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One archive's way to a prepared scan, and the program's that only unpacks it."""

    packing: str
    format: str
    n_bytes: int
    """Of the raw scan, unpacked."""
    unpacker_seconds: float
    unpack_seconds: float
    prepare_seconds: float
    peak_bytes: int

    @property
    def speed_ratio(self) -> float:
        """Speed of all that raki does over that of unpacking alone."""
        return self.unpacker_seconds / (self.unpack_seconds + self.prepare_seconds)


def throughput(
    output: Output = RESULTS,
    gb: Annotated[list[float] | None, typer.Option(help="Sizes of the raw scan in 1e9 bytes.")] = None,
    packing: Annotated[list[str] | None, typer.Option(help="tar, tar.zst or tar.gz.")] = None,
    format_: Annotated[list[str] | None, typer.Option("--format", help="hdf5 or stream.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="The best of so many, taken in turns.")] = 2,
    scratch: Annotated[Path | None, typer.Option(help="Folder with room for three times the largest scan.")] = None,
) -> None:
    """Archive to prepared scan: seconds and memory beside those of tar, zstd and gzip alone."""
    passages = []
    with TemporaryDirectory(dir=scratch) as folder:
        for size in gb or [1.0]:
            for kind in format_ or ["hdf5"]:
                raw = Path(folder) / "scan"
                WRITERS[kind](raw, size)
                for how in packing or ["tar", "tar.zst"]:
                    passages.append(measure(raw, kind, how, Path(folder), rounds))
                    CONSOLE.print(passages[-1])
                raw.unlink()
    _show(passages)
    last = passages[-1]
    stages = {
        "unpacker alone": last.unpacker_seconds,
        "raki: unpack": last.unpack_seconds,
        "raki: prepare": last.prepare_seconds,
    }
    title = f"{last.n_bytes / 1e9:.1f} GB, {last.format} in {last.packing}"
    facts = {"passages": [asdict(one) for one in passages]}
    write_record(output, "throughput", facts, lambda path: plot_stages(stages, title, path))


def measure(raw: Path, kind: str, packing: str, folder: Path, rounds: int) -> Passage:
    """Packs the raw scan, then unpacks it both ways in turns; the best of the rounds."""
    archive = folder / f"archive.{packing}"
    _pack(raw, archive, packing)
    command = [part.format(archive=archive, folder=folder / "plain") for part in UNPACKERS[packing]]
    plain, ours = [], []
    for _ in range(rounds):
        with _empty(folder / "plain"):
            started = time.perf_counter()
            subprocess.run(command, check=True)
            plain.append(time.perf_counter() - started)
        with _empty(folder / "ours") as target:
            probe = [sys.executable, "-m", "benchmarks.throughput_probe", str(archive), str(target)]
            ours.append(json.loads(subprocess.run(probe, check=True, capture_output=True, text=True).stdout))
    archive.unlink()
    best = min(ours, key=lambda one: one["unpack_seconds"] + one["prepare_seconds"])
    return Passage(packing=packing, format=kind, n_bytes=raw.stat().st_size, unpacker_seconds=min(plain), **best)


class _empty:  # noqa: N801  # reads as a verb
    """A folder that is there for the block alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        self._folder.mkdir()
        return self._folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)


def _pack(raw: Path, archive: Path, packing: str) -> None:
    if packing == "tar":
        with tarfile.open(archive, "w") as tar:
            tar.add(raw, "scan")
        return
    option = {"tar.zst": "--zstd", "tar.gz": "-z"}[packing]
    subprocess.run(["tar", option, "-cf", str(archive), "-C", str(raw.parent), raw.name], check=True)


def _lines(n_bytes: float) -> tuple[str, np.ndarray, Callable[[], Iterator[np.ndarray]]]:
    """A header, heads, and lines of noise for a multi-slice scan of about this size."""
    lines, flags = sampled_lines(MATRIX, ACCELERATION, N_ACS_LINES)
    n_ro = 2 * MATRIX
    n_slices = max(1, round(n_bytes / (8 * N_COILS * n_ro * len(lines))))
    heads = np.zeros(n_slices * len(lines), acquisition_dtype["head"])
    heads["version"], heads["number_of_samples"], heads["center_sample"] = 1, n_ro, n_ro // 2
    heads["active_channels"] = heads["available_channels"] = N_COILS
    heads["flags"], heads["idx"]["kspace_encode_step_1"] = np.tile(flags, n_slices), np.tile(lines, n_slices)
    heads["idx"]["slice"] = np.repeat(np.arange(n_slices), len(lines))
    heads["position"][:, 2] = heads["idx"]["slice"] * 5.0
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = np.eye(3)
    heads["sample_time_us"] = 5.0
    noise = np.random.default_rng(0).standard_normal((NOISE_ACQUISITIONS, N_COILS, 2 * n_ro), dtype=np.float32)
    noise_heads = heads[:1].copy()
    noise_heads["flags"] = flag_bits(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    heads = np.concatenate([noise_heads, heads])
    xml = xsd.ToXML(scan_header(n_slices, N_COILS, MATRIX, ACCELERATION))
    return xml, heads, lambda: (noise[n % NOISE_ACQUISITIONS].view(np.complex64) for n in range(len(heads)))


def _write_hdf5(path: Path, gigabytes: float) -> None:
    xml, heads, samples = _lines(1e9 * gigabytes)
    write_hdf5(xml, in_batches(heads, samples()), path)


def _write_stream(path: Path, gigabytes: float) -> None:
    xml, heads, samples = _lines(1e9 * gigabytes)
    write_stream(xml, heads, samples(), path)


WRITERS = {"hdf5": _write_hdf5, "stream": _write_stream}


def _show(passages: list[Passage]) -> None:
    table = Table(title="From archive to prepared scan")
    for column in ("raw scan", "format", "packing", "unpacker", "unpack", "prepare", "speed ratio", "peak memory"):
        table.add_column(column, justify="right")
    for one in passages:
        table.add_row(
            f"{one.n_bytes / 1e9:.2f} GB",
            one.format,
            one.packing,
            f"{one.unpacker_seconds:.1f} s",
            f"{one.unpack_seconds:.1f} s",
            f"{one.prepare_seconds:.1f} s",
            f"{one.speed_ratio:.2f}",
            f"{one.peak_bytes / 2**20:.0f} MiB",
        )
    CONSOLE.print(table)
