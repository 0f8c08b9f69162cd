"""Cross-validation on lines whose answer is known: the outermost ACS lines are held out, filled, and compared.

It says what error to expect of each candidate just outside the ACS.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Complex64, Float32
from torch import Tensor

from raki.kspace.patches import Predict, sources_at
from raki.kspace.self_calibration import MeasuredSlice

# Both chosen on the scans of benchmarks/README.md, and not varied since.
OUTER_PART = 8
"""One ACS line in so many is held out on either side."""
FEWEST_EXAMPLES = 3
"""Lines of examples that the rest of the ACS must still give."""


@dataclass(frozen=True, kw_only=True)
class HeldOutLines:
    """A slice without its outermost ACS lines, and what they hold."""

    measured: MeasuredSlice
    sources: Complex64[Tensor, "gap ro feature"]
    """Of the gaps that the held-out lines are in."""
    truth: Complex64[Tensor, "gap ro coil line"]
    judged: Bool[Tensor, "gap line"]
    """Where `truth` is a held-out line, and not one that was never acquired or is still known."""

    def errors(self, predict: Predict) -> Float32[Tensor, " row"]:
        """Energy of the error on held-out samples, for each row of `sources`."""
        wrong = (predict(self.sources).unflatten(-1, self.truth.shape[2:]) - self.truth).abs().square().sum(dim=2)
        return torch.where(self.judged[:, None], wrong, 0).sum(dim=2).flatten()

    def error(self, predict: Predict) -> float:
        """Energy of the error on the held-out lines over their own; dimensionless."""
        energy = self.truth.abs().square().sum(dim=(1, 2))[self.judged].sum()
        return float(self.errors(predict).sum() / energy.clamp(min=torch.finfo(torch.float32).tiny))


def hold_out(measured: MeasuredSlice) -> HeldOutLines | None:
    """Hold out an eighth of the ACS lines on either side.

    None where no line can be spared, and where the ACS is a scan of its own.
    """
    sampling, acceleration = measured.sampling, measured.sampling.acceleration
    if sampling.acs_lines is None or not measured.acs_inside:
        return None
    first, stop = sampling.acs_lines
    in_gaps = {line + beyond for line in sampling.gaps() for beyond in range(1, acceleration)}
    held_out: list[int] = []
    n_out = max(1, (stop - first) // OUTER_PART)
    while not held_out:
        outer = (*range(first, first + n_out), *range(stop - n_out, stop))
        held_out = [line for line in outer if line in in_gaps]
        if stop - first - 2 * n_out < measured.kernel.n_lines_needed(acceleration) + FEWEST_EXAMPLES - 1:
            return None
        n_out += 0 if held_out else 1
    gaps = [line for line in sampling.gaps() if any(line < held < line + acceleration for held in held_out)]
    known = measured.known.clone()
    known[held_out] = False
    index = torch.tensor(gaps)[:, None] + torch.arange(1, acceleration)
    inside = index.clamp(0, sampling.n_pe - 1).to(measured.kspace.device)
    return HeldOutLines(
        measured=replace(measured, acs=measured.acs[:, n_out : stop - first - n_out], known=known),
        sources=sources_at(measured.kspace, gaps, measured.kernel, acceleration),
        truth=measured.kspace[:, inside].permute(1, 3, 0, 2),
        judged=torch.isin(index, torch.tensor(held_out)).to(measured.kspace.device),
    )
