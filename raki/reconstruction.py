"""From a prepared scan to images: fill k-space by each method shown, transform, combine the coils."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from raki.arrays import LineMask, Volume
from raki.coils import root_sum_of_squares
from raki.completion import METHODS, Completion, TrainingPoint, complete
from raki.fourier import to_image
from raki.scan import Geometry, Scan

COMPARED_WITH = ("zero_filled", "grappa")
"""Shown beside every result: what doing nothing and what the linear standard method give."""

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the fraction of it that is done, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ScanSummary:
    """What is known of a scan without its samples. `acs_lines` are the first and one past the last line."""

    n_slices: int
    n_coils: int
    n_ro: int
    sampled: LineMask
    acceleration: int
    acs_lines: tuple[int, int] | None
    prewhitened: bool
    geometry: Geometry
    header_xml: str

    @property
    def effective_acceleration(self) -> float:
        """All phase-encode lines over the acquired ones: what the ACS lines leave of R."""
        return self.sampled.size / int(np.count_nonzero(self.sampled))


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Magnitude images by the methods in `COMPARED_WITH` and, as the last of `images`, by `method`.

    The value of a pixel is the root sum of squares over the coils. Where the scan was prewhitened, its unit is the
    standard deviation of the complex noise that one coil's fully sampled image would have in a pixel; otherwise it is
    the scanner's own unit.

    Raises:
        ValueError: an image is not of the geometry's matrix, or holds a value that is not finite.
    """

    method: str
    images: Mapping[str, Volume]
    scan: ScanSummary
    seed: int
    device: str
    training_curve: tuple[TrainingPoint, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        needed = (self.scan.n_slices, *self.scan.geometry.matrix)
        for method, volume in self.images.items():
            if volume.shape != needed:
                raise ValueError(f"the {method} images have shape {volume.shape}; the scan's geometry needs {needed}")
            n_bad = int(np.count_nonzero(~np.isfinite(volume)))
            if n_bad:
                raise ValueError(f"{n_bad} pixels of the {method} images are not finite; no image is made of them")

    @property
    def result(self) -> Volume:
        """The images by `method`."""
        return self.images[self.method]


def reconstruct(
    scan: Scan, *, method: str = "raki", seed: int = 0, device: str | None = None, progress: Progress | None = None
) -> Reconstruction:
    """Reconstruct a prepared scan by `method`, and by zero-filling and GRAPPA for comparison.

    `device` is a torch device; by default a CUDA device where there is one, else the processor. Seconds are wall
    clock: one entry for each method (calibration, training and filling) and `combine` for the transforms and coils.

    Raises:
        ValueError: an unknown method, or the readout is still oversampled: `raki.preprocess.preprocess` comes first.
        DamagedScan: an acquired sample is not finite.
        UnsupportedScan: the sampling is not regular.
        NoCalibration: lines are missing and the ACS is too small to calibrate on.
    """
    _require_ready(scan, method)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    report = progress or (lambda _stage, _fraction: None)
    images: dict[str, Volume] = {}
    seconds: dict[str, float] = {}
    combining = 0.0
    for name in [*(other for other in COMPARED_WITH if other != method), method]:
        started = perf_counter()
        completion = _complete(scan, name, seed=seed, device=device, report=report)
        completed = perf_counter()
        seconds[name] = completed - started
        images[name] = _combine(completion.kspace, scan.geometry)
        combining += perf_counter() - completed
        report(name, 1.0)
        if name == method:
            result = completion
    return Reconstruction(
        method=method,
        images=images,
        scan=_summary(scan, result),
        seed=seed,
        device=_device_name(device),
        training_curve=result.training_curve,
        notes=result.notes,
        seconds={**seconds, "combine": combining},
    )


def _complete(scan: Scan, method: str, *, seed: int, device: str, report: Progress) -> Completion:
    # A longer dwell time lets in less noise: brought to the level that it has in the image's own samples.
    noise = None if scan.noise is None else _tensor(scan.noise) / math.sqrt(scan.noise_dwell_ratio)
    return complete(
        _tensor(scan.kspace),
        method,
        sampled=_tensor(scan.sampled),
        noise=noise,
        seed=seed,
        device=device,
        progress=lambda fraction: report(method, fraction),
    )


def _tensor(array: np.ndarray) -> Tensor:
    # torch warns of arrays that it could not write to; such a one is copied, all others are shared.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _combine(kspace: Complex64[Tensor, "slice coil pe ro"], geometry: Geometry) -> Volume:
    """The images, cut out of the encoded field of view where phase-encode is oversampled.

    One slice at a time, so that the coil images of a whole volume never stand in memory.
    """
    encoded = geometry.encoded_rows, geometry.matrix[1]
    image = _centre(encoded, geometry.matrix)
    return np.stack([root_sum_of_squares(to_image(fit_matrix(coils, encoded))[image]).numpy() for coils in kspace])


def fit_matrix(kspace: Complex64[Tensor, "*coil pe ro"], matrix: tuple[int, int]) -> Complex64[Tensor, "*coil pe2 ro2"]:
    """Zero-pad or crop k-space about DC to `matrix` (pe, ro): the image gets that many pixels, the same field of view.

    Padding spreads the same noise over more pixels; the factor sqrt(new size / old size) gives a pixel of a fully
    sampled image the noise of one k-space sample again, whatever the matrix.
    """
    kept = [min(size, wanted) for size, wanted in zip(kspace.shape[-2:], matrix, strict=True)]
    fitted = kspace.new_zeros((*kspace.shape[:-2], *matrix))
    fitted[_centre(matrix, kept)] = kspace[_centre(kspace.shape[-2:], kept)]
    return fitted * math.sqrt(math.prod(matrix) / math.prod(kept))


def _centre(sizes: Sequence[int], kept: Sequence[int]) -> tuple[Any, ...]:
    """Index of the `kept` samples about DC, or pixels about the image's centre, in the last two axes."""
    starts = [size // 2 - n // 2 for size, n in zip(sizes, kept, strict=True)]
    return (..., *(slice(start, start + n) for start, n in zip(starts, kept, strict=True)))


def _require_ready(scan: Scan, method: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it has to be one of {', '.join(METHODS)}")
    if scan.readout_oversampling != 1.0:
        raise ValueError(
            f"the readout is oversampled {scan.readout_oversampling:g}-fold; reconstruction needs a prepared scan: "
            "call raki.preprocess.preprocess first"
        )


def _summary(scan: Scan, completion: Completion) -> ScanSummary:
    n_slices, n_coils, _, n_ro = scan.kspace.shape
    return ScanSummary(
        n_slices=n_slices,
        n_coils=n_coils,
        n_ro=n_ro,
        sampled=scan.sampled,
        acceleration=completion.sampling.acceleration,
        acs_lines=completion.sampling.acs_lines,
        prewhitened=scan.prewhitened,
        geometry=scan.geometry,
        header_xml=scan.header_xml,
    )


def _device_name(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device
