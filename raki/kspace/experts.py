"""Two fits behind a gate: bright gaps by one, faint ones by another."""

from dataclasses import dataclass

import torch
from jaxtyping import Float32
from torch import Tensor

from raki.kspace.patches import Predict, Sources, Targets, magnitude

# The error of the faint expert counts by so much on held-out rows, which favour the bright one (see best_threshold).
# Measured on seven scans of several scanners (benchmarks/README.md).
PREFERENCE = 0.8


@dataclass(frozen=True, kw_only=True)
class Experts:
    """`bright` where the magnitude of the sources is at least `threshold`, else `faint`.

    The gaps beside the centre of k-space are few and bright, the rest is many and faint; a fit that serves one of them
    fails the other by a factor of up to three in error energy. The magnitude of the sources tells which is which.
    """

    bright: Predict
    faint: Predict
    threshold: float

    def predict(self, sources: Sources) -> Targets:
        """Targets of any number of source rows, in units of the k-space."""
        if self.threshold == torch.inf:
            return self.faint(sources)
        if self.threshold == 0:
            return self.bright(sources)
        rows = sources.flatten(0, -2)
        bright = magnitude(rows) >= self.threshold
        targets = self.faint(rows)
        targets[bright] = self.bright(rows[bright])
        return targets.unflatten(0, sources.shape[:-1])


def best_threshold(
    sizes: Float32[Tensor, " row"], bright: Float32[Tensor, " row"], faint: Float32[Tensor, " row"]
) -> float:
    """The threshold of least error in all, from the magnitudes of rows and the error energies of both experts.

    Held-out rows lie beside the ACS, where the bright expert is better than it is farther out: it has to show for it.

    0 leaves everything to the bright expert, infinity everything to the faint one.
    """
    order = sizes.argsort()
    zero = sizes.new_zeros(1)
    below = PREFERENCE * torch.cat([zero, faint[order].cumsum(0)])
    above = torch.cat([bright[order].flip(0).cumsum(0).flip(0), zero])
    total = below + above
    rising = sizes[order]
    total[1:-1][rising[1:] == rising[:-1]] = torch.inf  # a threshold can't part equal magnitudes
    best = int(total.argmin())
    if best == len(sizes):
        return torch.inf
    return 0.0 if best == 0 else float(rising[best])
