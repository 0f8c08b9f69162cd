"""From samples as the receiver wrote them to what a reconstruction wants: no oversampling, noise of unit variance."""

from dataclasses import replace

import numpy as np
from jaxtyping import Complex64, Complex128

from raki.arrays import NoiseScan
from raki.errors import DamagedScan
from raki.formats.ismrmrd.header import parse_header, receiver_noise_bandwidth
from raki.scan import ChangedLines, LinesOfSlice, Scan, each_slice

# Below this the least eigenvalue of the noise correlation is rounding: a coil says nothing that others don't.
LEAST_EIGENVALUE = 1e-6


def preprocess(scan: Scan) -> Scan:
    """Removes the readout oversampling, then whitens the noise where a noise scan tells how.

    The two act on different axes and commute; this order whitens half as many samples. A scan that is read slice by
    slice stays one: each slice is changed when it is asked for.
    """
    return prewhiten(remove_readout_oversampling(scan))


def prewhiten(scan: Scan) -> Scan:
    """Decorrelates the coils, so that each carries complex noise of unit variance, E|n|^2 = 1.

    With the covariance C = L L^H of the noise scan, k-space becomes sqrt(dwell ratio * receiver's relative noise
    bandwidth) * inv(L) * kspace: a longer dwell time and a steeper filter let in less noise. The returned `noise` is
    whitened as well and stands at the level of the image, so its dwell ratio is 1. A scan without noise, or one
    whitened already, comes back as it is: `prewhitened` tells.

    Raises:
        DamagedScan: too few noise samples, or a coil is dead or recorded twice.

    Roemer et al. 1990, Magn Reson Med 16:192-225, doi:10.1002/mrm.1910160203;
    Kellman and McVeigh 2005, Magn Reson Med 54:1439-1447, doi:10.1002/mrm.20713.
    """
    if scan.noise is None or scan.prewhitened:
        return scan
    whitening = whitening_matrix(scan.noise)
    bandwidth = receiver_noise_bandwidth(parse_header(scan.header_xml)) if scan.header_xml else 1.0
    scale = np.sqrt(scan.noise_dwell_ratio * bandwidth)
    to_image = (scale * whitening).astype(np.complex64)

    def whiten(lines: LinesOfSlice) -> LinesOfSlice:
        return (to_image @ lines.reshape(len(lines), -1)).reshape(lines.shape)

    noise = (whitening @ scan.noise).astype(np.complex64)
    return replace(
        scan,
        kspace=each_slice(scan.kspace, scan.sampled, whiten),
        acs=None if scan.acs is None else each_slice(scan.acs, np.ones(scan.acs.shape[2], bool), whiten),
        noise=noise,
        noise_dwell_ratio=1.0,
        prewhitened=True,
    )


def whitening_matrix(noise: NoiseScan) -> Complex128[np.ndarray, "coil coil"]:
    """inv(L) of the noise covariance C = L L^H: lower triangular; what it is applied to must be in the order of coils.

    Raises:
        DamagedScan: fewer samples than coils, or C is singular: a coil is dead or recorded twice.
    """
    n_coils, n_samples = noise.shape
    if n_samples < n_coils:
        raise DamagedScan(
            f"the noise scan has {n_samples} samples; {n_coils} coils need at least as many: acquire a longer one"
        )
    samples = noise.astype(np.complex128)
    covariance = samples @ samples.conj().T / n_samples
    level = np.sqrt(np.diag(covariance).real)
    if not level.all():
        raise DamagedScan(
            f"coil {np.argmin(level)} recorded no noise at all, it is dead; raki needs noise in each of the {n_coils} "
            "coils: export the scan without it"
        )
    correlation = covariance / np.outer(level, level)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    if eigenvalues[0] < LEAST_EIGENVALUE:
        coils = sorted(np.argsort(-np.abs(vectors[:, 0]))[:2].tolist())
        raise DamagedScan(
            f"coils {coils[0]} and {coils[1]} recorded the same noise; raki needs coils that differ: export the scan "
            "without one of them"
        )
    whitening: np.ndarray = np.linalg.inv(np.linalg.cholesky(correlation)) / level
    return whitening


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
    profiles = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(lines, axes=-1), norm="ortho"), axes=-1)
    kept = np.fft.ifftshift(profiles[..., first : first + n_kept], axes=-1)
    return np.fft.fftshift(np.fft.fft(kept, norm="ortho"), axes=-1).astype(np.complex64, copy=False)
