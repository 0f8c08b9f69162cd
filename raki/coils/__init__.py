"""The receiver coils: combine their images, compress them to fewer; their sensitivities and noise level."""

from raki.coils.combination import Image, adaptive_combination, coil_covariance, root_sum_of_squares
from raki.coils.compression import (
    CoilCompression,
    geometric_compression,
    principal_compression,
    svd_compression,
)
from raki.coils.noise_level import NoiseLevel, estimate_noise, estimate_sigma
from raki.coils.sensitivities import Sensitivities, espirit

__all__ = [
    "CoilCompression",
    "Image",
    "NoiseLevel",
    "Sensitivities",
    "adaptive_combination",
    "coil_covariance",
    "espirit",
    "estimate_noise",
    "estimate_sigma",
    "geometric_compression",
    "principal_compression",
    "root_sum_of_squares",
    "svd_compression",
]
