"""Choose the regularisation without the answer: by how well held-out ACS is predicted.

The ACS is brighter than what has to be predicted, and so would choose too little regularisation.
The noise of the k-space at hand is therefore added, at the levels at which its gaps will see it.
"""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float32
from torch import Tensor

from raki.grappa import (
    Calibration,
    Kernel,
    LinearFit,
    SliceKSpace,
    calibrate,
    gap_sources,
    magnitude,
    noise_ratio,
)
from raki.sampling import Sampling

GRAPPA_RIDGE = 1e-3
# More than this is at times preferred by held-out ACS, but measured scans that GRAPPA did well on (R 2 and 3) came out
# up to 8 % worse in the root-sum-of-squares image, whose reference holds noise too.
RIDGES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SHRINKAGES = (0.0, 0.5, 1.0)
N_NOISE_LEVELS = 8
OUTER_PART = 8
FEWEST_LINES = 3


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The regularisation that predicts held-out ACS best."""

    ridge: float
    shrinkage: float
    expected_error: float
    """Energy of the error over energy of the missing samples, as expected from held-out ACS."""
    grappa_error: float
    """The same for plain GRAPPA."""


def choose(examples: Calibration, ratios: Float32[Tensor, " level"], sigma: float) -> Choice:
    """Best of all ridges and shrinkages at these noise-to-signal ratios; plain GRAPPA is one of them."""
    fitted, held_out = split(examples)
    judge = Judge(calibrate(fitted, ridge=GRAPPA_RIDGE, sigma=sigma), held_out, ratios)
    ridge, shrinkage = min(product(RIDGES, SHRINKAGES), key=lambda candidate: judge.expected_error(*candidate))
    return Choice(
        ridge=ridge,
        shrinkage=shrinkage,
        expected_error=judge.expected_error(ridge, shrinkage),
        grappa_error=judge.expected_error(GRAPPA_RIDGE, 0.0),
    )


def split(examples: Calibration) -> tuple[Calibration, Calibration]:
    """Examples to fit and examples to judge by: the outermost lines of the ACS are held out, an eighth on either side.

    What has to be predicted lies further out than the ACS. Examples held out along the readout share
    their lines with those fitted, and so would praise wide kernels that fail on any other line.
    """
    if len(examples.sources) < FEWEST_LINES:
        # Too short to give lines away: hold out the ends of the readout instead.
        examples = examples.transposed()
    n_lines = len(examples.sources)
    n_out = max(1, n_lines // OUTER_PART)
    line = torch.arange(n_lines, device=examples.sources.device)
    outer = (line < n_out) | (line >= n_lines - n_out)
    return examples.at_lines(~outer), examples.at_lines(outer)


def noise_ratios(kspace: SliceKSpace, sampling: Sampling, kernel: Kernel, sigma: float) -> Float32[Tensor, " level"]:
    """Noise-to-signal ratios of the gaps outside the ACS: levels that stand for equal parts of their energy."""
    first, stop = sampling.acs_lines or (0, 0)
    sizes = torch.cat(
        [
            magnitude(sources)[[not first <= line <= stop - sampling.acceleration for line in lines]].flatten()
            for lines, sources in gap_sources(kspace, sampling, kernel)
        ]
    )
    sizes = sizes.sort().values
    energy = sizes.square().cumsum(0)
    middles = (torch.arange(N_NOISE_LEVELS, device=energy.device) + 0.5) / N_NOISE_LEVELS
    return noise_ratio(sizes[torch.searchsorted(energy, middles * energy[-1]).clamp(max=len(sizes) - 1)], sigma)


class Judge:
    """Expected error on held-out examples with noise added; in the fit's components it is a quadratic form."""

    def __init__(self, fit: LinearFit, held_out: Calibration, ratios: Float32[Tensor, " level"]) -> None:
        sources, targets = held_out.sources.flatten(0, 1), held_out.targets.flatten(0, 1)
        size = magnitude(sources)
        weight = (1 / (size + size.mean())).unsqueeze(-1)
        components, targets = (sources * weight) @ fit.basis, targets * weight
        self.fit = fit
        self.ratios = ratios
        self.target_energy = targets.abs().square().sum().clamp(min=torch.finfo(torch.float32).tiny)
        outer = fit.weights @ fit.weights.mH
        self.noise_gain = outer.diagonal().real * (size * weight[:, 0]).square().sum()
        self.quadratic = ((components.mH @ components) * outer.mT).real
        self.linear = ((components.mH @ targets) * fit.weights.conj()).sum(dim=1).real

    def expected_error(self, ridge: float, shrinkage: float) -> float:
        """Energy of the error over that of the targets, mean over the noise levels."""
        gains = self.fit.with_regularisation(ridge, shrinkage).gains(self.ratios)
        signal = ((gains @ self.quadratic) * gains).sum(dim=1) - 2 * gains @ self.linear + self.target_energy
        noise = self.ratios.square() * (gains.square() @ self.noise_gain)
        return float(((signal + noise) / self.target_energy).mean())
