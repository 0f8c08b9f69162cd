"""Fill the gaps of one slice, and say how it went."""

import math
from collections.abc import Sequence

import torch

from raki.grappa import Kernel, SliceAcs, SliceKSpace, calibrate, calibration_examples, interpolate
from raki.noise_level import estimate_sigma
from raki.sampling import Sampling
from raki.selection import GRAPPA_RIDGE, noise_ratios
from raki.training import Fitted, TrainingPoint, fit_network

# Two lines, one on either side of the gap. Four predict better only where the ACS is far longer than the
# gap: just outside a short one, the outer lines read the centre of k-space, which calibration never saw there.
N_KERNEL_LINES = 2
N_KERNEL_SAMPLES = 7


def slice_kernel(n_ro: int) -> Kernel:
    """The kernel of every method; narrower where it would be longer than half the readout."""
    return Kernel(n_pe=N_KERNEL_LINES, n_ro=min(N_KERNEL_SAMPLES, n_ro // 4 * 2 + 1))


def fill_by_grappa(kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling, *, device: torch.device) -> SliceKSpace:
    """GRAPPA with one fixed regularisation; returns the filled k-space on the CPU.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    scale = unit_scale(acs)
    kernel = slice_kernel(acs.shape[-1])
    examples = calibration_examples((acs / scale).to(device), kernel, sampling.acceleration)
    fit = calibrate(examples, ridge=GRAPPA_RIDGE)
    return interpolate((kspace / scale).to(device), sampling, kernel, fit.predict).cpu() * scale


def fill_by_raki(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling,
    *,
    sigma: float | None,
    seed: int,
    device: torch.device,
) -> tuple[SliceKSpace, Fitted]:
    """Residual RAKI; returns the filled k-space on the CPU, and the network with its training curve.

    `sigma` is the standard deviation of the noise in units of `kspace`; None estimates it from the ACS.

    Zhang et al. 2022, NeuroImage 256:119248, doi:10.1016/j.neuroimage.2022.119248.
    """
    scale = unit_scale(acs)
    unit_kspace, unit_acs = (kspace / scale).to(device), (acs / scale).to(device)
    unit_sigma = estimate_sigma(unit_acs) if sigma is None else sigma / scale
    kernel = slice_kernel(acs.shape[-1])
    fitted = fit_network(
        calibration_examples(unit_acs, kernel, sampling.acceleration),
        noise_ratios(unit_kspace, sampling, kernel, unit_sigma),
        unit_sigma,
        seed,
    )
    return interpolate(unit_kspace, sampling, kernel, fitted.network.predict).cpu() * scale, fitted


def unit_scale(acs: SliceAcs) -> float:
    """A power of two near the peak: dividing by it costs no accuracy, and keeps squares in range."""
    peak = float(acs.abs().max())
    return 2.0 ** math.floor(math.log2(peak)) if peak > 0 else 1.0


def mean_curve(fits: Sequence[Fitted]) -> tuple[TrainingPoint, ...]:
    """Training curve of the scan: mean over its slices."""
    return tuple(
        TrainingPoint(
            step=points[0].step,
            training_loss=sum(point.training_loss for point in points) / len(points),
            validation_loss=sum(point.validation_loss for point in points) / len(points),
        )
        for points in zip(*(fit.curve for fit in fits), strict=True)
    )


def fit_notes(fits: Sequence[Fitted]) -> tuple[str, ...]:
    """What the held-out ACS said, as sentences."""
    n_kept = sum(fit.kept_steps > 0 for fit in fits)
    expected = sum(fit.expected_error for fit in fits) / len(fits)
    by_grappa = sum(fit.choice.grappa_error for fit in fits) / len(fits)
    kept = f"in {n_kept} of {len(fits)} slices" if n_kept else "in no slice"
    return (
        f"The network's nonlinear branch was kept {kept}; where it doesn't predict held-out ACS better, its linear "
        f"part stands alone.",
        f"Expected error energy of the filled samples, from held-out ACS with noise added: {expected:.3f} of "
        f"their own (plain GRAPPA: {by_grappa:.3f}).",
    )
