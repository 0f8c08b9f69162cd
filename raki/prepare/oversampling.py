"""Remove the readout oversampling: keep the pixels that the image has, and their noise as it is."""

from dataclasses import replace
from math import ceil, floor

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
        echo=None if scan.echo is None else _echo(scan.echo, n_ro, n_kept),
    )


def _echo(echo: tuple[int, int], n_ro: int, n_kept: int) -> tuple[int, int]:
    """The same samples of the shorter line; next to those that are missing they are mixed with zeros, and left out."""
    first, last = ((sample - n_ro // 2) * n_kept / n_ro + n_kept // 2 for sample in (echo[0], echo[1] - 1))
    return 0 if echo[0] == 0 else ceil(first) + 1, n_kept if echo[1] == n_ro else floor(last)


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
