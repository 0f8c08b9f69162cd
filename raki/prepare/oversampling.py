"""Remove the readout oversampling: keep the pixels that the image has, and their noise as it is."""

from dataclasses import replace

import numpy as np
from jaxtyping import Complex64

from raki.scan import ChangedLines, LinesOfSlice, Scan, each_slice, to_lines, to_profiles


def remove_readout_oversampling(scan: Scan) -> Scan:
    """Keeps the central part of the field of view along the readout: the coil images are cropped, DC stays at n // 2.

    The transforms are unitary, so noise keeps its level. The noise scan is left as it is.
    """
    n_ro = scan.kspace.shape[-1]
    n_kept = round(n_ro / scan.readout_oversampling)
    if n_kept >= n_ro:
        return replace(scan, readout_oversampling=1.0)

    def crop(lines: LinesOfSlice) -> ChangedLines:
        # Coil by coil: what one coil needs stays in the processor's cache.
        return np.stack([_crop_image(coil, n_kept) for coil in lines])

    acs = scan.acs
    return replace(
        scan,
        kspace=each_slice(scan.kspace, scan.sampled, crop, n_ro=n_kept),
        acs=None if acs is None else each_slice(acs, np.ones(acs.shape[2], bool), crop, n_ro=n_kept),
        readout_oversampling=1.0,
    )


def _crop_image(lines: Complex64[np.ndarray, "line ro"], n_kept: int) -> Complex64[np.ndarray, "line kept"]:
    """The lines of the central `n_kept` pixels of their profiles.

    Where both lengths are even, the signs that centring takes before and after the two transforms cancel: the
    profiles' centre is left at index 0, and only what lies about it is kept.
    """
    n_ro = lines.shape[-1]
    if n_ro % 2 == 0 and n_kept % 2 == 0:
        profiles = np.fft.ifft(lines, norm="ortho")
        halves = [profiles[..., : n_kept // 2], profiles[..., n_ro - n_kept // 2 :]]
        return np.fft.fft(np.concatenate(halves, axis=-1), norm="ortho").astype(np.complex64, copy=False)
    first = n_ro // 2 - n_kept // 2
    return to_lines(to_profiles(lines)[..., first : first + n_kept]).astype(np.complex64, copy=False)
