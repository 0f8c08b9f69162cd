"""Between lines of k-space and their profiles, along the readout alone, on arrays: centred and unitary, DC at `n // 2`.

`raki.scan.fourier` is the same in both directions of the image, on tensors.
"""

import numpy as np
from jaxtyping import Complex

Lines = Complex[np.ndarray, "*before ro"]


def to_profiles(lines: Lines) -> Lines:
    """Inverse DFT of each line; the precision is that of the lines."""
    return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(lines, axes=-1), norm="ortho"), axes=-1)


def to_lines(profiles: Lines) -> Lines:
    """DFT of each profile: the inverse of `to_profiles`."""
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(profiles, axes=-1), norm="ortho"), axes=-1)
