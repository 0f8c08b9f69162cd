"""Many coil images to one."""

from jaxtyping import Float32
from torch import Tensor

from raki.fourier import CoilImages

Image = Float32[Tensor, "*slice pe ro"]


def root_sum_of_squares(images: CoilImages) -> Image:
    """Magnitude image of all coils: sqrt(Σ |image of the coil|²).

    Needs no sensitivities, and is within a constant of the best signal-to-noise ratio where the
    signal is strong. Background noise adds up to about sqrt(n_coils) times the level of one coil.

    Roemer et al. 1990, Magn Reson Med 16:192-225, doi:10.1002/mrm.1910160203.
    """
    return images.abs().square().sum(dim=-3).sqrt()
