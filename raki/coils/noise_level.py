"""How strong the noise is, where no noise scan tells."""

import torch
from jaxtyping import Float
from torch import Tensor

from raki.scan.fourier import SliceAcs

# Small patches keep the matrix far taller than wide, which the theory needs.
PATCH_LINES = 3
PATCH_SAMPLES = 3


def estimate_sigma(acs: SliceAcs) -> float:
    """Standard deviation of a complex sample's noise, in units of `acs`; 0 where none can be told from signal.

    The matrix of all patches of the ACS has low rank but for its noise, and noise alone has
    Marchenko-Pastur distributed eigenvalues: the longest tail of small eigenvalues that is no wider
    than this distribution is noise, and its mean the variance. Supposes equal and uncorrelated noise in
    all coils. The corner of k-space would serve only where the resolution is high; elsewhere it is signal.

    Veraart et al. 2016, NeuroImage 142:394-406, doi:10.1016/j.neuroimage.2016.08.016.
    """
    patches = acs.unfold(-2, PATCH_LINES, 1).unfold(-2, PATCH_SAMPLES, 1)
    rows = patches.permute(1, 2, 0, 3, 4).flatten(0, 1).flatten(1).to(torch.complex128)
    energies = torch.linalg.eigvalsh(rows.mH @ rows / len(rows)).clamp(min=0)
    return _noise_tail(energies, len(rows)) ** 0.5


def _noise_tail(energies: Float[Tensor, " component"], n_rows: int) -> float:
    """Mean of the longest Marchenko-Pastur tail of ascending eigenvalues; 0 if only one would be left."""
    n_tail = torch.arange(1, len(energies) + 1, device=energies.device, dtype=energies.dtype)
    mean = energies.cumsum(0) / n_tail
    # The distribution's support is 4 sqrt(n_tail / n_rows) variances wide.
    variance_by_width = (energies - energies[0]) / (4 * (n_tail / n_rows).sqrt())
    fitting = (variance_by_width[1:] <= mean[1:]).nonzero().flatten()
    return float(mean[fitting[-1] + 1]) if len(fitting) else 0.0
