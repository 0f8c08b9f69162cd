"""Slices whose k-space is known, as they would be measured one at a time and all at once."""

from dataclasses import dataclass

import numpy as np
import torch

from raki.kspace.caipi import collapsed
from raki.phantom.phantom import phantom_planes


@dataclass(frozen=True)
class Group:
    """Noisy sums and single-band references, their noises independent, and the slices without any."""

    truth: torch.Tensor
    reference: torch.Tensor
    measured: torch.Tensor
    turns: tuple[float, ...]
    step: int
    sigma: float

    @property
    def lines(self):
        n_pe = self.truth.shape[2]
        return torch.arange(n_pe // 2 % self.step, n_pe, self.step)

    def error(self, apart):
        """Energy of the error on the acquired lines, over that of the slices."""
        difference = (apart - self.truth)[:, :, self.lines]
        return float(difference.abs().square().sum() / self.truth[:, :, self.lines].abs().square().sum())


def simulated_group(*, n_bands=2, shift=2, step=1, n_coils=6, matrix=32, sigma=0.02, n_acs=24, places_mm=None, seed=0):
    """Slices of the head phantom, of which neighbours turn by 1 / shift from one acquired line to the next."""
    places = np.linspace(-14.0, 46.0, n_bands) if places_mm is None else np.asarray(places_mm, float)
    truth = torch.from_numpy(np.stack(list(phantom_planes(places, n_coils, matrix, 0))))
    turns = tuple(band / shift / step for band in range(n_bands))
    generator = torch.Generator().manual_seed(seed)
    first = matrix // 2 - n_acs // 2
    reference = truth[:, :, first : first + n_acs]
    reference = reference + sigma * torch.randn(reference.shape, generator=generator, dtype=torch.complex64)
    measured = collapsed(truth, turns)
    measured = measured + sigma * torch.randn(measured.shape, generator=generator, dtype=torch.complex64)
    group = Group(truth, reference, torch.zeros_like(measured), turns, step, sigma)
    group.measured[:, group.lines] = measured[:, group.lines]
    return group
