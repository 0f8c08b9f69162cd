"""Where the images of a scan lie in the patient."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Where the image lies. Lengths in mm; patient coordinates LPS, as in DICOM and ISMRMRD."""

    fov_mm: tuple[float, float, float]
    """Field of view of the image along readout, phase-encode and slice, all oversampling removed."""
    matrix: tuple[int, int]
    """Pixels of the image along phase-encode and readout; the k-space may have more or fewer lines."""
    phase_oversampling: float = 1.0
    """Field of view that the phase-encode lines encode over that of the image, about the same centre; at least 1.0.
    With the image's pixels the encoded field of view has a whole number of rows."""
    slice_spacing_mm: float
    """Distance between neighbouring slice centres; equals the slice thickness for a single slice."""
    read_direction: tuple[float, float, float] = (1.0, 0.0, 0.0)
    phase_direction: tuple[float, float, float] = (0.0, 1.0, 0.0)
    slice_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    position_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Centre of the first slice."""

    def __post_init__(self) -> None:
        n_rows = self.matrix[0] * self.phase_oversampling
        if not 1 <= self.phase_oversampling < math.inf or abs(n_rows - round(n_rows)) > 1e-6:
            raise ValueError(
                f"a phase oversampling of {self.phase_oversampling:g} makes {n_rows:g} rows of the image's "
                f"{self.matrix[0]}; a whole number, not less, was needed"
            )

    @property
    def encoded_rows(self) -> int:
        """Rows of the encoded field of view in pixels of the image; `matrix[0]` of them are the image."""
        return round(self.matrix[0] * self.phase_oversampling)
