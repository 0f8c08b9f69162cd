"""From a prepared scan to images: fill k-space by each method shown, transform, combine the coils."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.coils import adaptive_combination, coil_covariance, principal_compression, root_sum_of_squares
from raki.errors import NoCalibration
from raki.images.apart import taken_apart
from raki.images.calibration import calibration_of
from raki.images.mirrored import about_mirrored
from raki.images.resampling import (
    Grid,
    as_slices,
    centre,
    fit_matrix,
    image_grid,
    on_image_matrix,
    part_on_image_matrix,
)
from raki.images.result import ModelUse, Reconstruction, ScanSummary, StoredModel
from raki.kspace import EXPLANATION_PARTS, FillReport, complete_slices, find_method
from raki.options import COMBINATIONS, Chosen
from raki.planning import PointSampling, Sampling, ScatteredSampling, SlicePlan, plans_of, plans_of_planes
from raki.scan import LinesOfSlice, Scan, each_slice
from raki.scan.arrays import Volume
from raki.scan.fourier import to_image

COMPARED_WITH = ("zero_filled", "grappa")
"""Shown beside every result: what doing nothing and what the linear standard method give."""

NOT_EXPLAINED = (
    "Where the brightness comes from can't be told: nothing was filled in, or by a method that doesn't begin linearly."
)

Keep = Callable[[int, Complex64[Tensor, "coil pe ro"]], None]
"""Called with an image's number and its filled k-space."""

Progress = Callable[[str, float], None]
"""Called with the name of a stage and the fraction of it that is done, 0 to 1."""


def reconstruct(
    scan: Scan,
    *,
    method: str = "raki",
    combine: str = "rss",
    n_virtual_coils: int | None = None,
    seed: int = 0,
    device: str | None = None,
    with_maps: bool = True,
    with_weights: bool = False,
    with_explanation: bool = False,
    with_phase: bool = False,
    model: StoredModel | None = None,
    keep: Keep | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """Reconstruct a prepared scan by `method`, and by zero-filling and GRAPPA for comparison.

    A scan that is read slice by slice needs the memory of a few slices and of the images. Seconds are wall clock, one
    entry for each method: calibration, training, filling, maps, transforms and combination.

    Args:
        scan: as `raki.preprocess` gives it.
        method: one of `raki.methods()`.
        combine: one of `raki.options.COMBINATIONS`, for all images alike.
        n_virtual_coils: compress the coils to so many before filling (SVD of the ACS lines of all slices); by default
            all coils are used as they are.
        device: a torch device; by default a CUDA device where there is one, else the processor.
        with_maps: whether `raki` makes maps of its noise and errors too, in about the time of the filling.
        with_weights: whether the weights of the kernels are kept, of a method that has one.
        with_explanation: whether it is told where the brightness of each pixel comes from, of a method that is linear
            or begins so (GRAPPA, `raki` and its rungs).
        with_phase: whether there are phase images too, of the coils' adaptive combination.
        model: weights of an earlier scan, for images that can't be calibrated, or that they fill better; `raki.models`.
        keep: is handed the k-space that `method` filled of each image, on the CPU, in no certain order and from several
            threads.

    Raises:
        ValueError: an unknown method or combination, more virtual coils than coils, or the readout is still
            oversampled: `raki.prepare.preprocess` comes first.
        DamagedScan: an acquired sample is not finite.
        UnsupportedScan: the sampling is not regular, or nothing tells slices apart that were excited at once.
        NoCalibration: lines are missing and the ACS is too small to calibrate on; or the single-band reference is.

    >>> import raki
    >>> from pathlib import Path
    >>> raki.simulate_scan(Path("scan.h5"), n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    >>> scan = raki.preprocess(raki.read_scan(Path("scan.h5")))
    >>> result = raki.reconstruct(scan, method="grappa", device="cpu")
    >>> result.result.shape, list(result.images)
    ((1, 32, 32), ['zero_filled', 'grappa'])
    """
    _require_ready(scan, method, combine)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    report = progress or (lambda _stage, _fraction: None)
    acs, calibration_notes = calibration_of(scan)
    compressed, compression_notes = _compressed(replace(scan, acs=acs), n_virtual_coils)
    filled, apart = taken_apart(compressed, seed=seed, device=device)
    images: dict[str, Volume] = {}
    seconds: dict[str, float] = {}
    for name in [*(other for other in COMPARED_WITH if other != method), method]:
        started = perf_counter()
        of_method = name == method
        try:
            images[name], phase, fill_report = _filled_images(
                filled,
                name,
                combine,
                seed=seed,
                device=device,
                with_maps=with_maps and of_method,
                with_weights=with_weights and of_method,
                with_explanation=with_explanation and of_method,
                with_phase=with_phase and of_method,
                model=model if of_method else None,
                keep=keep if of_method else None,
                report=report,
            )
        except NoCalibration:
            # Zeros need no calibration, nor may stored weights, and what needs it can't be compared with.
            if of_method or (method != "zero_filled" and model is None):
                raise
            continue
        seconds[name] = perf_counter() - started
        report(name, 1.0)
    use = _use(model, fill_report)
    return Reconstruction(
        method=method,
        combination=combine,
        n_virtual_coils=n_virtual_coils,
        images=images,
        maps=_maps(fill_report, scan),
        explanation=_explanation(fill_report, scan),
        phase=phase,
        weights=fill_report.weights,
        cross_validation=fill_report.cross_validation,
        scattered=fill_report.scattered,
        model=use,
        opposite=fill_report.opposite,
        scan=_summary(scan, fill_report),
        apart=apart,
        seed=seed,
        device=_device_name(device),
        training_curve=fill_report.training_curve,
        notes=(
            *compression_notes,
            *calibration_notes,
            *(use.notes() if use else ()),
            *(apart.notes() if apart else ()),
            *_combination_notes(combine, fill_report),
            *about_mirrored(images[method], scan.frames),
            *((NOT_EXPLAINED,) if with_explanation and not fill_report.explanations else ()),
            *fill_report.notes,
        ),
        seconds=seconds,
    )


def reconstruct_as(
    chosen: Chosen,
    scan: Scan,
    *,
    device: str | None = None,
    model: StoredModel | None = None,
    keep: Keep | None = None,
    progress: Progress | None = None,
) -> Reconstruction:
    """`reconstruct` with the options that were chosen for a scan.

    Raises:
        WrongOptions: the scan has fewer coils than its `raki.toml` asks for. Otherwise as `reconstruct`.
    """
    options = chosen.options
    return reconstruct(
        scan,
        method=options.method,
        combine=options.combine,
        n_virtual_coils=chosen.n_virtual_coils(scan.kspace.shape[1]),
        seed=options.seed,
        device=device,
        with_maps=options.maps,
        with_weights=options.weights,
        with_explanation=options.explain,
        with_phase=options.quantities,
        model=model,
        keep=keep,
        progress=progress,
    )


def _compressed(scan: Scan, n_virtual_coils: int | None) -> tuple[Scan, tuple[str, ...]]:
    """The scan as virtual coils see it, and a sentence on what that costs."""
    if n_virtual_coils is None:
        return scan, ()
    calibration = scan.kspace if scan.acs is None else scan.acs
    lines = slice(None) if scan.acs is not None else scan.sampled if scan.acs_lines is None else slice(*scan.acs_lines)
    # Samples that are not finite are found, and named, where lines are filled.
    finite = (
        _tensor(np.nan_to_num(_as_lines(slice_[:, lines]), nan=0.0, posinf=0.0, neginf=0.0)) for slice_ in calibration
    )
    covariance = torch.stack([coil_covariance(slice_) for slice_ in finite]).sum(dim=0)
    compression = principal_compression(covariance, n_coils=n_virtual_coils)

    acs = scan.acs

    def virtual(kspace: np.ndarray) -> np.ndarray:
        return compression.apply(_tensor(_as_lines(kspace))).numpy().reshape(n_virtual_coils, *kspace.shape[1:])

    return replace(
        scan,
        kspace=each_slice(scan.kspace, scan.sampled, virtual, n_coils=n_virtual_coils),
        acs=None if acs is None else each_slice(acs, np.ones(acs.shape[2], bool), virtual, n_coils=n_virtual_coils),
        noise=None if scan.noise is None else compression.apply_to_noise(_tensor(scan.noise)).numpy(),
    ), (
        f"Coils compressed from {scan.kspace.shape[1]} to {n_virtual_coils}; {100 * compression.loss:.2g} % of the ACS "
        f"energy is lost.",
    )


def _as_lines(lines: LinesOfSlice) -> Complex64[np.ndarray, "coil line ro"]:
    """Lines as they are, points of a plane as lines of one sample."""
    return lines if lines.ndim == 3 else lines[..., None]


def _combination_notes(combine: str, filled: FillReport) -> tuple[str, ...]:
    if combine == "rss":
        return ()
    notes = ("Coils were combined adaptively, with the sensitivities that the images themselves show.",)
    if not filled.maps:
        return notes
    return (*notes, "The standard error is that of the root-sum-of-squares image, not of the adaptive combination.")


def _filled_images(
    scan: Scan,
    method: str,
    combine: str,
    *,
    seed: int,
    device: str,
    with_maps: bool,
    with_weights: bool,
    with_explanation: bool,
    with_phase: bool,
    model: StoredModel | None,
    keep: Keep | None,
    report: Progress,
) -> tuple[Volume, Volume | None, FillReport]:
    """Images by one method, and their phase where it is wanted.

    A slice is read, filled and combined before it is let go: no volume of coils is held.
    """
    kspace, acs, grid = scan.kspace, scan.acs, image_grid(scan)
    images = np.empty((len(kspace), *grid.matrix), np.float32)
    phase = np.empty_like(images) if with_phase else None
    magnitude = root_sum_of_squares if combine == "rss" else _adaptive_magnitude

    def take(index: int, filled: Complex64[Tensor, "coil pe ro"]) -> None:
        if keep:
            keep(index, filled)
        coil_images = _coil_images(filled, grid)
        images[index] = magnitude(coil_images).numpy()
        if phase is not None:
            phase[index] = adaptive_combination(coil_images).angle().numpy()

    fill_report = complete_slices(
        len(kspace),
        lambda index: _tensor(kspace[index]),
        take,
        method,
        plans=_plans(scan),
        echo=scan.echo,
        n_frames=len(scan.frames),
        load_acs=None if acs is None else lambda index: _tensor(acs[index % len(acs)]),
        # A longer dwell time lets in less noise: brought to the level that it has in the image's own samples.
        noise=None if scan.noise is None else _tensor(scan.noise) / math.sqrt(scan.noise_dwell_ratio),
        seed=seed,
        device=device,
        with_maps=with_maps,
        with_weights=with_weights,
        with_explanation=with_explanation,
        stored=model.weights if model else None,
        is_judged=model.is_judged if model else True,
        progress=lambda fraction: report(method, fraction),
    )
    return as_slices(images, scan), None if phase is None else as_slices(phase, scan), fill_report


def _plans(scan: Scan) -> Sequence[SlicePlan]:
    if scan.slab:
        by_frame = scan.sampled if scan.sampled_by_frame is None else scan.sampled_by_frame
        return plans_of_planes(by_frame, len(scan.kspace))
    return plans_of(scan.sampled if scan.sampled_by_image is None else scan.sampled_by_image, len(scan.kspace))


def _tensor(array: np.ndarray) -> Tensor:
    # torch warns of arrays that it could not write to; such a one is copied, all others are shared.
    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _coil_images(kspace: Complex64[Tensor, "coil pe ro"], grid: Grid) -> Complex64[Tensor, "coil row column"]:
    """The coils' images of one slice, cut out of the encoded field of view where phase-encode is oversampled."""
    return to_image(fit_matrix(kspace, grid.encoded))[centre(grid.encoded, grid.matrix)]


def _adaptive_magnitude(images: Complex64[Tensor, "coil pe ro"]) -> Float32[Tensor, "pe ro"]:
    return adaptive_combination(images).abs()


def _maps(filled: FillReport, scan: Scan) -> dict[str, Volume]:
    if not filled.maps:
        return {}
    grid = image_grid(scan)

    def on_images(name: str) -> Volume:
        return as_slices(np.stack([on_image_matrix(getattr(maps, name).numpy(), grid) for maps in filled.maps]), scan)

    return {name: on_images(name) for name in ("g_factor", "standard_error", "structure_kept")}


def _explanation(filled: FillReport, scan: Scan) -> dict[str, Volume]:
    """The parts of the images; between pixels of the k-space's own matrix they are interpolated."""
    if not filled.explanations:
        return {}
    grid = image_grid(scan)

    def on_images(name: str) -> Volume:
        parts = [getattr(each, name).numpy() for each in filled.explanations]
        return as_slices(np.stack([part_on_image_matrix(part, grid) for part in parts]), scan)

    return {name: on_images(name) for name in EXPLANATION_PARTS}


def _use(model: StoredModel | None, filled: FillReport) -> ModelUse | None:
    if model is None:
        return None
    return ModelUse(
        name=model.name, version=model.version, digest=model.digest, uses=filled.stored, remarks=model.remarks
    )


def _require_ready(scan: Scan, method: str, combine: str) -> None:
    find_method(method)
    if combine not in COMBINATIONS:
        raise ValueError(f"combine is {combine!r}; it has to be one of {', '.join(COMBINATIONS)}")
    if scan.readout_oversampling != 1.0:
        raise ValueError(
            f"the readout is oversampled {scan.readout_oversampling:g}-fold; reconstruction needs a prepared scan: "
            "call raki.prepare.preprocess first"
        )


def _summary(scan: Scan, filled: FillReport) -> ScanSummary:
    n_coils, n_ro = scan.kspace.shape[1], scan.geometry.matrix[1] if scan.slab else scan.kspace.shape[-1]
    sampling = filled.sampling
    return ScanSummary(
        n_slices=scan.n_slices,
        frames=scan.frames,
        frame_step_s=scan.frame_step_s,
        n_coils=n_coils,
        n_ro=n_ro,
        sampled=np.asarray(scan.lines_of(0).any(axis=1)) if scan.slab else scan.lines_of(0),
        points=np.asarray(scan.lines_of(0)) if scan.slab else None,
        acs_block=None if isinstance(sampling, Sampling) else sampling.block,
        is_scattered=isinstance(sampling, ScatteredSampling),
        cell=(sampling.cell.n_pe, sampling.cell.n_pe2) if isinstance(sampling, PointSampling) else None,
        encoded_lines=sampling.filled_lines() if sampling.acceleration > 1 else sampling.acquired_range,
        acceleration=sampling.acceleration,
        net_acceleration=sampling.net_acceleration,
        acs_lines=sampling.acs_lines,
        n_acs_lines_apart=0 if scan.acs is None else scan.acs.shape[-2],
        prewhitened=scan.prewhitened,
        geometry=scan.geometry,
        header_xml=scan.header_xml,
        remarks=scan.remarks,
    )


def _device_name(device: str) -> str:
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device
