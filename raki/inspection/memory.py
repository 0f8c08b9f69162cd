"""How much memory a reconstruction takes, known before it begins."""

from dataclasses import dataclass

from raki.planning import slice_kernel

# The library itself, and what doesn't grow with the scan.
LIBRARY_BYTES = 260 << 20
# Measured over 4 to 32 coils and matrices of 128 to 512: `raki` with its maps takes so many times a slice of k-space,
# and so many times a square matrix of the kernel's samples.
SLICES_AT_WORK, MATRICES_AT_WORK = 40, 20
SLICES_WITHOUT_FILLING = 12
# SPIRiT has a matrix of its coils for each pixel, and so many copies of them; more coils are compressed to these.
MOST_SPIRIT_COILS, MATRICES_OF_PIXELS = 16, 3
# In single precision: images by three methods, and three maps, twice while they are brought to the images' pixels; and
# so the six parts that explain an image.
BYTES_PER_PIXEL, BYTES_PER_PIXEL_EXPLAINED = 9 * 4, 12 * 4


@dataclass(frozen=True, kw_only=True)
class Extent:
    """What of a scan decides how much memory it takes."""

    n_coils: int
    n_pe: int
    n_ro: int
    n_images: int
    """Slices of all frames."""
    n_pixels: int
    """Of an image."""
    has_gaps: bool
    """Whether lines are to be filled in."""
    is_scattered: bool = False
    """Whether these are points on no lattice (3-D), filled by SPIRiT."""
    is_explained: bool = False
    """Whether it is told where the brightness of each pixel comes from."""

    def bytes_needed(self, n_at_once: int) -> int:
        """By `raki` with its maps, measured to a quarter, with so many slices under way at the same time."""
        slice_bytes = 8 * self.n_coils * self.n_pe * self.n_ro
        kernel = slice_kernel(self.n_ro)
        n_features = self.n_coils * kernel.n_pe * kernel.n_ro
        at_work = SLICES_WITHOUT_FILLING * slice_bytes
        if self.is_scattered:
            matrix_bytes = 8 * min(self.n_coils, MOST_SPIRIT_COILS) ** 2
            at_work += MATRICES_OF_PIXELS * matrix_bytes * self.n_pe * self.n_ro
        elif self.has_gaps:
            at_work = SLICES_AT_WORK * slice_bytes + MATRICES_AT_WORK * 8 * n_features**2
        per_pixel = BYTES_PER_PIXEL + (BYTES_PER_PIXEL_EXPLAINED if self.is_explained else 0)
        images = per_pixel * self.n_images * self.n_pixels
        return LIBRARY_BYTES + min(n_at_once, self.n_images) * at_work + images
