"""Fill the gaps of one slice, and say how it went."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from raki.coils.noise_level import estimate_sigma
from raki.kspace.gating import Gated, Predict, best_threshold
from raki.kspace.grappa import Kernel, interpolate, magnitude
from raki.kspace.held_out import Rehearsal, rehearsal
from raki.kspace.sampling import Sampling
from raki.kspace.selection import calibrated_grappa
from raki.kspace.selfcalibration import Experts, MeasuredSlice, first_fit, self_calibrated
from raki.kspace.training import TrainingPoint, TrialOfBranch, noise_levels, trained_network, try_branch
from raki.scan.fourier import SliceAcs, SliceKSpace

# Two lines, one on either side of the gap. Four predict better only where the ACS is far longer than the
# gap: just outside a short one, the outer lines read the centre of k-space, which calibration never saw there.
N_KERNEL_LINES = 2
N_KERNEL_SAMPLES = 7
N_ROUNDS = 4
# Lines beside the ACS are bright and easy: on measured scans GRAPPA erred there up to half as much as the network,
# and the whole image of the network was better still. Only more than this speaks of a failure.
FALL_BACK_BEYOND = 3.0
N_LAST_ROUNDS = 2
# Held-out error up to which a fit is a better start than GRAPPA; beyond, its mistakes outlive the last rounds.
GOOD_START = 0.1


@dataclass(frozen=True, kw_only=True)
class HeldOutErrors:
    """Energy of the error on held-out ACS lines over their own; dimensionless."""

    grappa: float
    linear: float
    """Of the self-calibrated linear part alone."""
    network: float
    """Of the linear part and its nonlinear branch; that of the linear part where no branch was trained."""

    def of(self, chosen: str) -> float:
        """The error of the candidate chosen."""
        return {"raki": self.linear, "raki with branch": self.network, "grappa": self.grappa}[chosen]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Which candidate filled a slice, and why."""

    chosen: str
    """"raki" (its linear part), "raki with branch", or "grappa" where held-out lines spoke against both."""
    errors: HeldOutErrors | None
    """None where the ACS has no lines to spare."""
    trial: TrialOfBranch


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What filled one slice. `predict` and `sigma` are in units of `scale`."""

    predict: Predict
    kernel: Kernel
    scale: float
    sigma: float
    """Standard deviation of the noise of a complex sample."""
    judgement: Judgement


UNTRIED = TrialOfBranch(curve=(), kept_steps=0)


def slice_kernel(n_ro: int) -> Kernel:
    """The kernel of `raki`; narrower where it would be longer than half the readout."""
    return Kernel(n_pe=N_KERNEL_LINES, n_ro=min(N_KERNEL_SAMPLES, n_ro // 4 * 2 + 1))


def fill_by_grappa(kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling, *, device: torch.device) -> SliceKSpace:
    """GRAPPA, its kernel and regularisation chosen by cross-validation; returns the filled k-space on the CPU.

    Griswold et al. 2002, Magn Reson Med 47:1202-1210, doi:10.1002/mrm.10171.
    """
    scale = unit_scale(acs)
    grappa = calibrated_grappa((acs / scale).to(device), sampling.acceleration)
    return interpolate((kspace / scale).to(device), sampling, grappa.kernel, grappa.fit.predict).cpu() * scale


def fill_by_raki(
    kspace: SliceKSpace,
    acs: SliceAcs,
    sampling: Sampling,
    *,
    sigma: float | None,
    seed: int,
    device: torch.device,
    with_branch: bool = True,
) -> tuple[SliceKSpace, Fitted]:
    """Residual RAKI, its linear part self-calibrated on the whole k-space; returns the filled k-space on the CPU.

    `kspace` holds zero where nothing was acquired, and `acs` is its lines `sampling.acs_lines` or a scan of its own.
    `sigma` is the standard deviation of the noise in units of `kspace`; None estimates it from the ACS. The
    nonlinear branch is tried `with_branch` only, and kept only where it lowers the error on held-out ACS lines.

    Zhang et al. 2022, NeuroImage 256:119248, doi:10.1016/j.neuroimage.2022.119248 (residual RAKI).
    """
    scale = unit_scale(acs)
    measured = measured_slice(
        kspace / scale,
        acs / scale,
        sampling,
        sigma=None if sigma is None else sigma / scale,
        device=device,
    )
    rehearsed = rehearsal(measured)
    predict, judgement = (
        _unjudged(measured, seed) if rehearsed is None else _judged(measured, rehearsed, seed, with_branch)
    )
    fitted = Fitted(predict=predict, kernel=measured.kernel, scale=scale, sigma=measured.sigma, judgement=judgement)
    return measured.filled_by(predict).cpu() * scale, fitted


def measured_slice(
    kspace: SliceKSpace, acs: SliceAcs, sampling: Sampling, *, sigma: float | None, device: torch.device
) -> MeasuredSlice:
    """A slice on the device that it is filled on; the arrays have a peak of about 1 (see `unit_scale`)."""
    known = torch.zeros(sampling.n_pe, dtype=torch.bool)
    known[sampling.lattice_lines()] = True
    first, stop = sampling.acs_lines or (0, 0)
    known[first:stop] = True
    inside = stop > first and acs.shape == kspace[:, first:stop].shape and torch.equal(acs, kspace[:, first:stop])
    return MeasuredSlice(
        kspace=kspace.to(device),
        acs=acs.to(device),
        known=known.to(device),
        acs_inside=inside,
        sampling=sampling,
        kernel=slice_kernel(acs.shape[-1]),
        sigma=estimate_sigma(acs.to(device)) if sigma is None else sigma,
    )


def _unjudged(measured: MeasuredSlice, seed: int) -> tuple[Predict, Judgement]:
    """The expert for faint gaps alone, where no line can be spared to judge by."""
    experts = self_calibrated(measured, first_fit(measured), n_rounds=N_ROUNDS, seed=seed)
    return experts.faint.predict, Judgement(chosen="raki", errors=None, trial=UNTRIED)


def _judged(measured: MeasuredSlice, rehearsed: Rehearsal, seed: int, with_branch: bool) -> tuple[Predict, Judgement]:
    """The candidate that held-out lines recommend."""
    start = first_fit(rehearsed.measured)
    trial_experts = self_calibrated(rehearsed.measured, start, n_rounds=N_ROUNDS - 1, seed=seed)
    threshold = best_threshold(
        magnitude(rehearsed.sources).flatten(),
        rehearsed.errors(trial_experts.bright.predict),
        rehearsed.errors(trial_experts.faint.predict),
    )
    trial_linear = _gated(trial_experts, threshold)
    by_grappa, by_linear = rehearsed.error(start.predict), rehearsed.error(trial_linear.predict)
    if by_linear > FALL_BACK_BEYOND * by_grappa:
        errors = HeldOutErrors(grappa=by_grappa, linear=by_linear, network=by_linear)
        return first_fit(measured).predict, Judgement(chosen="grappa", errors=errors, trial=UNTRIED)
    # What was found without the held-out lines is a better start than GRAPPA, if it is any good.
    first, n_rounds = (
        (trial_experts.faint, N_LAST_ROUNDS) if by_linear < GOOD_START else (first_fit(measured), N_ROUNDS)
    )
    experts = self_calibrated(measured, first, n_rounds=n_rounds, seed=seed + N_ROUNDS)
    linear = _gated(experts, threshold)
    trial = UNTRIED
    if with_branch:
        levels = noise_levels(measured.kspace, measured.sampling, measured.kernel, measured.sigma)
        trial = try_branch(
            trial_experts.faint,
            rehearsed.measured.acs_examples(),
            levels,
            seed,
            lambda predict: rehearsed.error(replace(trial_linear, faint=predict).predict),
        )
        if trial.kept_steps:
            network = trained_network(experts.faint, measured.acs_examples(), levels, seed, trial.kept_steps)
            linear = replace(linear, faint=network.predict)
    by_network = next((point.validation_loss for point in trial.curve if point.step == trial.kept_steps), by_linear)
    chosen = "raki with branch" if trial.kept_steps else "raki"
    errors = HeldOutErrors(grappa=by_grappa, linear=by_linear, network=by_network)
    return linear.predict, Judgement(chosen=chosen, errors=errors, trial=trial)


def _gated(experts: Experts, threshold: float) -> Gated:
    return Gated(bright=experts.bright.predict, faint=experts.faint.predict, threshold=threshold)


def unit_scale(acs: SliceAcs) -> float:
    """A power of two near the peak: dividing by it costs no accuracy, and keeps squares in range."""
    peak = float(acs.abs().max())
    return 2.0 ** math.floor(math.log2(peak)) if peak > 0 else 1.0


def mean_curve(curves: Sequence[tuple[TrainingPoint, ...]]) -> tuple[TrainingPoint, ...]:
    """Training curve of a scan: mean over the slices that something was trained on."""
    return tuple(
        TrainingPoint(
            step=points[0].step,
            training_loss=sum(point.training_loss for point in points) / len(points),
            validation_loss=sum(point.validation_loss for point in points) / len(points),
        )
        for points in zip(*curves, strict=True)
    )
