"""What would be lost? A fully sampled scan undersampled after the fact, reconstructed, and held against itself."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from raki.errors import UnsupportedScan
from raki.images import nmse, object_mask, psnr, reconstruct, ssim
from raki.results.preview import write_preview
from raki.results.report import method_label
from raki.scan import Scan, lattice_and_acs
from raki.scan.arrays import Volume


@dataclass(frozen=True, kw_only=True)
class Score:
    """How near an image is to that of all lines, inside the object."""

    nmse: float
    psnr_db: float
    ssim: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Images of the fully sampled scan and by each method from some of its lines."""

    acceleration: int
    n_acs_lines: int
    reference: Volume
    images: Mapping[str, Volume]
    scores: Mapping[str, Score]


def compare(
    scan: Scan,
    *,
    acceleration: int,
    n_acs_lines: int,
    methods: tuple[str, ...] = ("raki",),
    seed: int = 0,
    device: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Comparison:
    """Undersamples a prepared, fully sampled scan and scores each method, zero-filling and GRAPPA among them.

    The reference is the root sum of squares of all lines, noise included: no method can reach an error of zero.

    Raises:
        UnsupportedScan: the scan isn't fully sampled, or 3-D, or of slices that were excited at once.
        NoCalibration: too few ACS lines for any method.
    """
    if scan.slab:
        raise UnsupportedScan("the scan is 3-D; raki compares methods on 2-D scans only: reconstruct it instead")
    if scan.groups:
        raise UnsupportedScan(
            f"the scan excites {scan.groups.n_bands} slices at once; raki compares methods on slices that were excited "
            "alone: reconstruct it instead"
        )
    fewest = scan.sampled if scan.sampled_by_image is None else scan.sampled_by_image.all(axis=0)
    if not fewest.all():
        n_missing = int(np.count_nonzero(~fewest))
        raise UnsupportedScan(
            f"{n_missing} of {len(scan.sampled)} lines were not acquired; a comparison needs a fully sampled scan: "
            "reconstruct this one instead"
        )
    full = reconstruct(scan, method="zero_filled", seed=seed, device=device)
    fewer = undersampled(scan, acceleration, n_acs_lines)
    images: dict[str, Volume] = {}
    for method in methods:
        found = reconstruct(fewer, method=method, seed=seed, device=device, with_maps=False, progress=progress)
        images = {**found.images, **images, method: found.result}
    return Comparison(
        acceleration=acceleration,
        n_acs_lines=n_acs_lines,
        reference=full.result,
        images=images,
        scores={method: score(volume, full.result) for method, volume in images.items()},
    )


def undersampled(scan: Scan, acceleration: int, n_acs_lines: int) -> Scan:
    """The scan as if only every R-th line and the central ones had been acquired; DC stays in."""
    lattice, acs = lattice_and_acs(len(scan.sampled), acceleration, n_acs_lines)
    keep = (lattice | acs) & scan.sampled
    first = len(keep) // 2 - n_acs_lines // 2
    acs_lines = (first, first + n_acs_lines) if n_acs_lines > 1 else None
    return replace(scan, sampled=keep, acs_lines=(0, len(keep)) if keep.all() else acs_lines)


def score(images: Volume, reference: Volume) -> Score:
    """Scores inside the object, over all slices; see `raki.images.metrics`."""
    found, wanted = torch.from_numpy(images), torch.from_numpy(reference)
    mask = object_mask(wanted)
    return Score(nmse=nmse(found, wanted, mask), psnr_db=psnr(found, wanted, mask), ssim=ssim(found, wanted, mask))


def write_comparison(comparison: Comparison, scan: Scan, folder: Path) -> list[Path]:
    """Writes `comparison.png`, the middle slice by each method beside that of all lines, and `comparison.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    picture, figures = folder / "comparison.png", folder / "comparison.json"
    labels = {method_label(method): volume for method, volume in comparison.images.items()}
    write_preview(
        {"all lines": comparison.reference, **labels},
        picture,
        geometry=scan.geometry,
        caption=f"R = {comparison.acceleration}, {comparison.n_acs_lines} ACS lines, chosen after the fact. "
        "Research use only.",
    )
    facts = {
        "acceleration": comparison.acceleration,
        "n_acs_lines": comparison.n_acs_lines,
        "inside the object": {method: vars(score) for method, score in comparison.scores.items()},
    }
    figures.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [picture, figures]
