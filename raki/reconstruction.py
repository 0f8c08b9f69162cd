"""From a prepared scan to images: fill k-space by each method shown, transform, combine the coils."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.arrays import LineMask, Volume
from raki.coils import adaptive_combination, root_sum_of_squares
from raki.completion import METHODS, Completion, TrainingPoint, complete
from raki.compression import svd_compression
from raki.fourier import to_image
from raki.scan import Geometry, Scan
from raki.verdict import Verdict

COMPARED_WITH = ("zero_filled", "grappa")
"""Shown beside every result: what doing nothing and what the linear standard method give."""

COMBINATIONS = ("rss", "adaptive")
"""How coils become one magnitude image: root sum of squares, or with the sensitivities that the images show."""

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the fraction of it that is done, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ScanSummary:
    """What is known of a scan without its samples, as received: before any coil compression.

    `acs_lines` are the first and one past the last line.
    """

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

    The value of a pixel is the root sum of squares over the coils, or the magnitude of their adaptive combination,
    which is as bright. Where the scan was prewhitened, its unit is the standard deviation of the complex noise that
    one coil's fully sampled image would have in a pixel; otherwise it is the scanner's own unit.

    Raises:
        ValueError: an image or map is not of the geometry's matrix, or holds a value that is not finite.
    """

    method: str
    combination: str
    """One of `COMBINATIONS`."""
    n_virtual_coils: int | None
    """Coils that were left of the receiver's before filling; None where none were compressed."""
    images: Mapping[str, Volume]
    maps: Mapping[str, Volume]
    """`g_factor` (dimensionless) and `standard_error` (in units of the images, of the root sum of squares), on the
    pixels of the images; empty where none were made."""
    verdict: Verdict | None
    """On the choice that `method` made; only of `raki`, and where lines were missing."""
    scan: ScanSummary
    seed: int
    device: str
    training_curve: tuple[TrainingPoint, ...]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    def __post_init__(self) -> None:
        needed = (self.scan.n_slices, *self.scan.geometry.matrix)
        named = {f"{method} images": volume for method, volume in self.images.items()}
        for name, volume in {**named, **{f"{name} maps": volume for name, volume in self.maps.items()}}.items():
            if volume.shape != needed:
                raise ValueError(f"the {name} have shape {volume.shape}; the scan's geometry needs {needed}")
            n_bad = int(np.count_nonzero(~np.isfinite(volume)))
            if n_bad:
                raise ValueError(f"{n_bad} pixels of the {name} are not finite; no image is made of them")

    @property
    def result(self) -> Volume:
        """The images by `method`."""
        return self.images[self.method]


def reconstruct(
    scan: Scan,
    *,
    method: str = "raki",
    combine: str = "rss",
    n_virtual_coils: int | None = None,
    seed: int = 0,
    device: str | None = None,
    with_maps: bool = True,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct a prepared scan by `method`, and by zero-filling and GRAPPA for comparison.

    Seconds are wall clock: one entry for each method (calibration, training, filling and maps) and `combine` for the
    transforms and coils.

    Args:
        method: one of `raki.completion.METHODS`.
        combine: one of `COMBINATIONS`, for all images alike.
        n_virtual_coils: compress the coils to so many before filling (SVD of the ACS lines of all slices); by default
            all coils are used as they are.
        device: a torch device; by default a CUDA device where there is one, else the processor.
        with_maps: whether `raki` makes maps of its noise and errors too, in about the time of the filling.

    Raises:
        ValueError: an unknown method or combination, more virtual coils than coils, or the readout is still
            oversampled: `raki.preprocess.preprocess` comes first.
        DamagedScan: an acquired sample is not finite.
        UnsupportedScan: the sampling is not regular.
        NoCalibration: lines are missing and the ACS is too small to calibrate on.
    """
    _require_ready(scan, method, combine)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    report = progress or (lambda _stage, _fraction: None)
    filled, compression_notes = _compressed(scan, n_virtual_coils)
    images: dict[str, Volume] = {}
    seconds: dict[str, float] = {}
    combining = 0.0
    for name in [*(other for other in COMPARED_WITH if other != method), method]:
        started = perf_counter()
        maps_wanted = with_maps and name == method
        completion = _complete(filled, name, seed=seed, device=device, with_maps=maps_wanted, report=report)
        completed = perf_counter()
        seconds[name] = completed - started
        images[name] = _combine(completion.kspace, scan.geometry, combine)
        combining += perf_counter() - completed
        report(name, 1.0)
        if name == method:
            result = completion
    return Reconstruction(
        method=method,
        combination=combine,
        n_virtual_coils=n_virtual_coils,
        images=images,
        maps=_maps(result, scan.geometry),
        verdict=result.verdict,
        scan=_summary(scan, result),
        seed=seed,
        device=_device_name(device),
        training_curve=result.training_curve,
        notes=(*compression_notes, *_combination_notes(combine, result), *result.notes),
        seconds={**seconds, "combine": combining},
    )


def _compressed(scan: Scan, n_virtual_coils: int | None) -> tuple[Scan, tuple[str, ...]]:
    """The scan as virtual coils see it, and a sentence on what that costs."""
    if n_virtual_coils is None:
        return scan, ()
    kspace = _tensor(scan.kspace)
    lines = _tensor(scan.sampled) if scan.acs_lines is None else slice(*scan.acs_lines)
    acs = kspace[..., lines, :]
    # Samples that are not finite are found, and named, where lines are filled.
    compression = svd_compression(torch.where(acs.isfinite(), acs, 0), n_coils=n_virtual_coils)
    virtual = replace(
        scan,
        kspace=torch.stack([compression.apply(coils) for coils in kspace]).numpy(),
        noise=None if scan.noise is None else compression.apply_to_noise(_tensor(scan.noise)).numpy(),
    )
    return virtual, (
        f"Coils compressed from {kspace.shape[1]} to {n_virtual_coils}; {100 * compression.loss:.2g} % of the ACS "
        f"energy is lost.",
    )


def _combination_notes(combine: str, completion: Completion) -> tuple[str, ...]:
    if combine == "rss":
        return ()
    notes = ("Coils were combined adaptively, with the sensitivities that the images themselves show.",)
    if not completion.trust:
        return notes
    return (*notes, "The standard error is that of the root-sum-of-squares image, not of the adaptive combination.")


def _complete(scan: Scan, method: str, *, seed: int, device: str, with_maps: bool, report: Progress) -> Completion:
    # A longer dwell time lets in less noise: brought to the level that it has in the image's own samples.
    noise = None if scan.noise is None else _tensor(scan.noise) / math.sqrt(scan.noise_dwell_ratio)
    return complete(
        _tensor(scan.kspace),
        method,
        sampled=_tensor(scan.sampled),
        noise=noise,
        seed=seed,
        device=device,
        with_maps=with_maps,
        progress=lambda fraction: report(method, fraction),
    )


def _tensor(array: np.ndarray) -> Tensor:
    # torch warns of arrays that it could not write to; such a one is copied, all others are shared.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _combine(kspace: Complex64[Tensor, "slice coil pe ro"], geometry: Geometry, combine: str) -> Volume:
    """The images, cut out of the encoded field of view where phase-encode is oversampled.

    One slice at a time, so that the coil images of a whole volume never stand in memory.
    """
    encoded = geometry.encoded_rows, geometry.matrix[1]
    image = _centre(encoded, geometry.matrix)
    magnitude = root_sum_of_squares if combine == "rss" else _adaptive_magnitude
    return np.stack([magnitude(to_image(fit_matrix(coils, encoded))[image]).numpy() for coils in kspace])


def _adaptive_magnitude(images: Complex64[Tensor, "coil pe ro"]) -> Float32[Tensor, "pe ro"]:
    return adaptive_combination(images).abs()


def _maps(completion: Completion, geometry: Geometry) -> dict[str, Volume]:
    if not completion.trust:
        return {}
    return {
        "g_factor": np.stack([on_image_matrix(one.g_factor.numpy(), geometry) for one in completion.trust]),
        "standard_error": np.stack([on_image_matrix(one.standard_error.numpy(), geometry) for one in completion.trust]),
    }


def on_image_matrix(pixels: Float32[np.ndarray, "pe ro"], geometry: Geometry) -> Float32[np.ndarray, "row column"]:
    """A smooth map on the pixels of the k-space's own matrix, on those of the image: linear between pixels.

    The same centre and cut as the images have. Values stay as they are, a standard error's too: `fit_matrix` leaves a
    pixel the noise of one k-space sample, and an error that k-space holds as evenly as noise likewise. One that sits at
    the centre of k-space is larger in a cropped matrix, by at most sqrt(old size / new size).
    """
    encoded = geometry.encoded_rows, geometry.matrix[1]
    rows, columns = (_between(*sizes) for sizes in zip(pixels.shape, encoded, strict=True))
    return (rows @ pixels @ columns.T)[_centre(encoded, geometry.matrix)]


def _between(n_old: int, n_new: int) -> Float32[np.ndarray, "new old"]:
    """Weights of linear interpolation about the common centre; beyond its border an image begins anew."""
    positions = n_old // 2 + (np.arange(n_new) - n_new // 2) * (n_old / n_new)
    old = np.arange(n_old)
    return np.stack([np.interp(positions, old, one, period=n_old) for one in np.eye(n_old)], axis=1).astype(np.float32)


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


def _require_ready(scan: Scan, method: str, combine: str) -> None:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it has to be one of {', '.join(METHODS)}")
    if combine not in COMBINATIONS:
        raise ValueError(f"combine is {combine!r}; it has to be one of {', '.join(COMBINATIONS)}")
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
