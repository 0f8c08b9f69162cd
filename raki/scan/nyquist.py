"""The phase between lines that were read forward and those that were read backward (EPI): what makes an N/2 ghost."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, kw_only=True)
class NyquistPhase:
    """Phase of forward over reversed lines in the image: offset + slope * (pixel - n // 2) along the readout."""

    slope_rad_per_pixel: float
    offset_rad: float

    def along_readout(self, n_ro: int) -> Float64[np.ndarray, " ro"]:
        """The phase at each pixel in rad."""
        return self.offset_rad + self.slope_rad_per_pixel * (np.arange(n_ro) - n_ro // 2)

    def beyond(self, other: "NyquistPhase") -> "NyquistPhase":
        """What is left of it once the other was corrected."""
        return NyquistPhase(
            slope_rad_per_pixel=self.slope_rad_per_pixel - other.slope_rad_per_pixel,
            offset_rad=self.offset_rad - other.offset_rad,
        )

    def inverse(self) -> "NyquistPhase":
        """The phase that undoes it."""
        return NyquistPhase(slope_rad_per_pixel=-self.slope_rad_per_pixel, offset_rad=-self.offset_rad)
