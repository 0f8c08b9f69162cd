"""`python -m benchmarks kinds`: each kind of scan that the phantom knows, through the service, against its truth."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import numpy as np
import torch
from rich.table import Table

from benchmarks.plots import plot_stages
from benchmarks.records import CONSOLE, RESULTS, Output, write_record
from infra.local.cloud import LocalCloud, LocalSettings
from infra.local.command import CONTEXT
from infra.local.deploy.synth import synthesise
from raki.formats import read_scan
from raki.images import reconstruct
from raki.images.metrics import nmse
from raki.manifest import MANIFEST
from raki.phantom.multiband import simulate_multiband
from raki.phantom.multiband_epi import simulate_multiband_epi
from raki.phantom.simulation import simulate_scan
from raki.phantom.volume import simulate_volume
from raki.prepare import preprocess
from raki.scan.arrays import Volume

Simulate = Callable[..., None]
SIZE: dict[str, Any] = {"n_coils": 8, "seed": 3}
SLICES: dict[str, Any] = {**SIZE, "n_slices": 4, "matrix": 96}
SLAB: dict[str, Any] = {**SIZE, "n_partitions": 24, "matrix": 64}
ALONE: dict[str, Any] = {"acceleration": 1, "noise_level": 0.0}
PATIENCE_S = 900.0
INSIDE = 0.1
"""Of the truth's largest value: what is brighter is the object."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of scan, and the fully sampled one without noise that it should look like."""

    name: str
    simulate: Simulate
    truth: Simulate
    n_frames: int = 1


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What stands on the share."""

    kind: str
    nmse: float | None
    """Inside the object, after the best common scale; None where there is no image."""
    seconds: float
    """From the drop of all to its manifest."""
    said: str
    """Why there is no image."""


def _kinds() -> list[Kind]:
    slices, slab = partial(simulate_scan, **SLICES, **ALONE), partial(simulate_volume, **SLAB, noise_level=0.0)
    whole = partial(slab, acceleration=(1, 1))

    def sliced(name: str, simulate: Simulate = simulate_scan, n_frames: int = 1, **asked: Any) -> Kind:
        frames = {"n_frames": n_frames} if n_frames > 1 else {}
        made = partial(simulate, **SLICES, **asked, **frames)
        return Kind(name=name, simulate=made, truth=slices, n_frames=n_frames)

    def slabbed(name: str, n_frames: int = 1, **asked: Any) -> Kind:
        made = partial(simulate_volume, **SLAB, **asked, n_frames=n_frames)
        return Kind(name=name, simulate=made, truth=whole, n_frames=n_frames)

    return [
        sliced("2-D, fully sampled", acceleration=1),
        sliced("2-D, R 2", acceleration=2),
        sliced("2-D, R 4", acceleration=4),
        sliced("2-D, R 2, partial Fourier 6/8", acceleration=2, partial_fourier=0.75),
        slabbed("3-D, 2 x 1", acceleration=(2, 1)),
        slabbed("3-D, 2 x 2", acceleration=(2, 2)),
        slabbed("3-D, 2 x 2, CAIPIRINHA", acceleration=(2, 2), shift=1),
        slabbed("3-D, 2 x 2, elliptical", acceleration=(2, 2), elliptical=True),
        slabbed("3-D, 2 x 1, partial Fourier 7/8", acceleration=(2, 1), partial_fourier=(0.875, 1.0)),
        slabbed("3-D, R 3 at random", acceleration=(3, 1), at_random=True, n_acs=12),
        slabbed("3-D, R 3 at random, 2 frames", 2, acceleration=(3, 1), at_random=True, n_acs=12),
        sliced("multiband 2, shift 2", simulate_multiband, multiband=2, caipi_shift=2),
        sliced("multiband 2, R 2, shift 2", simulate_multiband, multiband=2, caipi_shift=2, acceleration=2),
        sliced("multiband 4, shift 4", simulate_multiband, multiband=4, caipi_shift=4),
        sliced("EPI, multiband 2, shift 2", simulate_multiband_epi, multiband=2, caipi_shift=2),
        sliced("EPI, multiband 2, 3 frames", simulate_multiband_epi, 3, multiband=2, caipi_shift=2),
    ]


def kinds(output: Output = RESULTS) -> None:
    """Every kind of scan that `raki simulate` makes, dropped on a local cloud's share: its image against the truth."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        assembly = synthesise(folder / "work" / "cdk.out", context=CONTEXT)
        settings = LocalSettings(share=folder / "share", work=folder / "work", assembly=assembly, nuisances=False)
        with LocalCloud(settings) as cloud:
            cloud.deploy()
            found = _run(_kinds(), folder)
    table = Table("kind", "NMSE", "s", "said", title="simulated, dropped on the share, compared with the truth")
    for one in found:
        table.add_row(one.kind, "" if one.nmse is None else f"{one.nmse:.5f}", f"{one.seconds:.0f}", one.said)
    CONSOLE.print(table)
    errors = {one.kind: one.nmse for one in found if one.nmse is not None}
    record = {"outcomes": [asdict(one) for one in found]}
    write_record(output, "kinds", record, lambda path: plot_stages(errors, "NMSE of each kind", path))


def _run(wanted: list[Kind], folder: Path) -> list[Outcome]:
    """Drops a scan of each kind, and waits for all results."""
    raw, results, truths = folder / "share" / "raw", folder / "share" / "results", folder / "truths"
    truths.mkdir()
    for number, kind in enumerate(wanted):
        kind.simulate(truths / "scan.h5")
        (truths / "scan.h5").replace(raw / f"{number}.h5")
    began_s = time.monotonic()
    ended: dict[int, float] = {}
    while len(ended) < len(wanted) and time.monotonic() - began_s < PATIENCE_S:
        for number in set(range(len(wanted))) - ended.keys():
            if (results / f"{number}" / MANIFEST).exists():
                ended[number] = time.monotonic() - began_s
        time.sleep(0.5)
    return [
        _outcome(kind, results / f"{number}", truths, ended.get(number, PATIENCE_S))
        for number, kind in enumerate(wanted)
    ]


def _outcome(kind: Kind, shown: Path, truths: Path, seconds: float) -> Outcome:
    if not (shown / "image.h5").exists():
        page = shown / "error.json"
        said = page.read_text(encoding="utf-8") if page.exists() else f"nothing after {PATIENCE_S:.0f} s"
        return Outcome(kind=kind.name, nmse=None, seconds=seconds, said=said)
    with h5py.File(shown / "image.h5") as file:
        images = np.concatenate(
            [
                group["data"][()].squeeze((1, 2))
                for _, group in sorted(file["dataset"].items())
                if isinstance(group, h5py.Group)
            ]
        )
    kind.truth(truths / "truth.h5")
    scan = preprocess(read_scan(truths / "truth.h5"))
    truth = np.concatenate([reconstruct(scan, method="zero_filled", device="cpu").result] * kind.n_frames)
    (truths / "truth.h5").unlink()
    return Outcome(kind=kind.name, nmse=_nmse(images, truth), seconds=seconds, said="")


def _nmse(images: Volume, truth: Volume) -> float:
    found, wanted = torch.from_numpy(images.astype(np.float32)), torch.from_numpy(truth)
    mask = wanted > INSIDE * wanted.max()
    scale = (found * wanted)[mask].sum() / found[mask].square().sum()
    return nmse(found * scale, wanted, mask)
