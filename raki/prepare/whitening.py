"""Decorrelate the coils: noise of unit variance in each, where a noise scan tells how."""

from dataclasses import replace

import numpy as np
from jaxtyping import Complex128

from raki.errors import DamagedScan
from raki.scan import LinesOfSlice, Scan, each_slice
from raki.scan.arrays import NoiseScan
from raki.scan.header import parse_header, receiver_noise_bandwidth

# Below this the least eigenvalue of the noise correlation is rounding: a coil says nothing that others don't.
LEAST_EIGENVALUE = 1e-6


def prewhiten(scan: Scan) -> Scan:
    """Decorrelates the coils, so that each carries complex noise of unit variance, E|n|^2 = 1.

    With the covariance C = L L^H of the noise scan, k-space becomes sqrt(dwell ratio * receiver's relative noise
    bandwidth) * inv(L) * kspace: a longer dwell time and a steeper filter let in less noise. The returned `noise` is
    whitened as well and stands at the level of the image, so its dwell ratio is 1. A scan without noise, or one
    whitened already, comes back as it is: `prewhitened` tells. One whose noise can't tell (too few samples, a coil
    that is dead or recorded twice) loses it and gets a remark.

    Roemer et al. 1990, Magn Reson Med 16:192-225, doi:10.1002/mrm.1910160203;
    Kellman and McVeigh 2005, Magn Reson Med 54:1439-1447, doi:10.1002/mrm.20713.
    """
    if scan.noise is None or scan.prewhitened:
        return scan
    try:
        whitening = whitening_matrix(scan.noise)
    except DamagedScan as refusal:
        said = f"The noise scan was not used, and the coils not decorrelated: {refusal}."
        return replace(scan, noise=None, noise_dwell_ratio=1.0, remarks=(*scan.remarks, said))
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
        raise DamagedScan(f"the noise scan has {n_samples} samples; {n_coils} coils need at least as many")
    samples = noise.astype(np.complex128)
    covariance = samples @ samples.conj().T / n_samples
    level = np.sqrt(np.diag(covariance).real)
    if not level.all():
        raise DamagedScan(
            f"coil {np.argmin(level)} recorded no noise at all, it is dead; raki needs noise in each of the {n_coils} "
            "coils"
        )
    correlation = covariance / np.outer(level, level)
    eigenvalues, vectors = np.linalg.eigh(correlation)
    if eigenvalues[0] < LEAST_EIGENVALUE:
        coils = sorted(np.argsort(-np.abs(vectors[:, 0]))[:2].tolist())
        raise DamagedScan(f"coils {coils[0]} and {coils[1]} recorded the same noise; raki needs coils that differ")
    whitening: np.ndarray = np.linalg.inv(np.linalg.cholesky(correlation)) / level
    return whitening
