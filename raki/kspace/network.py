"""The scan-specific network: a linear convolution, plus a small nonlinear branch."""

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor, nn

from raki.kspace.linear_fit import LinearFit, noise_ratio
from raki.kspace.patches import Sources, Targets, magnitude


def complex_relu(features: Complex64[Tensor, "*row hidden"]) -> Complex64[Tensor, "*row hidden"]:
    """ReLU of real and imaginary part apart; positively homogeneous, so a brighter scan is the same scan."""
    return torch.complex(features.real.relu(), features.imag.relu())


class NonlinearBranch(nn.Module):
    """What the linear fit misses: components → hidden → complex ReLU → targets, without bias.

    As wide kernels followed by 1x1 kernels are, this is a convolution seen at one position: all coils go
    in, and all missing lines of all coils come out. The output starts at zero, so that training
    starts from the linear fit.

    Akçakaya et al. 2019, Magn Reson Med 81:439-453, doi:10.1002/mrm.27420; one network for all coils as in
    Zhang et al. 2019, PLoS ONE 14:e0223315, doi:10.1371/journal.pone.0223315.
    """

    def __init__(self, n_components: int, n_hidden: int, n_targets: int, generator: torch.Generator) -> None:
        super().__init__()
        start = torch.randn(n_components, n_hidden, dtype=torch.complex64, generator=generator)
        self.hidden = nn.Parameter(start / n_components**0.5)
        self.output = nn.Parameter(torch.zeros(n_hidden, n_targets, dtype=torch.complex64))

    def forward(self, components: Complex64[Tensor, "*row component"]) -> Targets:
        """Correction of the targets, in units of the sources' magnitude."""
        return complex_relu(components @ self.hidden) @ self.output


class RakiNetwork(nn.Module):
    """Linear fit plus nonlinear branch, both behind the same gains.

    The branch sees the strongest components of the sources, whitened, and damped by the local
    signal-to-noise ratio as the linear fit damps them: where there is mostly noise, both say little.

    Zhang et al. 2022, NeuroImage 256:119248, doi:10.1016/j.neuroimage.2022.119248 (residual RAKI). There
    the linear part is trained by gradient descent too; here it is solved, which is exact and quicker.
    """

    def __init__(self, fit: LinearFit, *, n_components: int, n_hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.fit = fit
        # eigh sorts ascending; the strongest components are the last ones.
        self.strongest = slice(max(0, len(fit.energies) - n_components), None)
        n_inputs = len(fit.energies[self.strongest])
        self.branch = NonlinearBranch(n_inputs, n_hidden, fit.weights.shape[-1], generator).to(fit.weights.device)

    def forward(
        self, components: Complex64[Tensor, "row component"], noise_ratio: Float32[Tensor, " row"]
    ) -> tuple[Targets, Targets]:
        """Linear prediction and correction, from components of sources of magnitude 1."""
        damped = components * self.fit.gains(noise_ratio)
        inputs = damped[:, self.strongest] * self.fit.energies[self.strongest].sqrt()
        return damped @ self.fit.weights, self.branch(inputs)

    @torch.no_grad()
    def predict(self, sources: Sources) -> Targets:
        """Targets of any number of source rows, in units of the k-space."""
        size = magnitude(sources).unsqueeze(-1)
        components = (sources / size @ self.fit.basis).flatten(0, -2)
        linear, correction = self(components, noise_ratio(size, self.fit.sigma).flatten())
        return (linear + correction).unflatten(0, sources.shape[:-1]) * size
