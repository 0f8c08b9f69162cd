"""Coil sensitivities from the ACS: what every patch of k-space has in common, seen from the image."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from raki.coils.combination import coil_covariance, in_phase_with, principal_components
from raki.coils.noise_level import estimate_sigma
from raki.errors import NoCalibration
from raki.scan import cubic_weights
from raki.scan.fourier import SliceAcs

# Patches come from so many lines and samples around the brightest one; further out there is little but noise.
CALIBRATION_SIZE = 24
# The largest singular value of a patch matrix of white noise is within 5 % of what theory says of independent rows.
NOISE_MARGIN = 1.1
# Sensitivities are as smooth as the kernel is small. Inside the object, cubic interpolation from this grid is within
# 0.003 of the maps computed at each pixel, and 0.0003 in the root mean square (kernels of 5 to 8, 8 to 32 coils).
GRID_SIZE = 64
# Together 128 power iterations: the second eigenvector is gone unless its eigenvalue is within 5 % of the first.
N_SQUARINGS = 4
N_POWER_ITERATIONS = 8

TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True, kw_only=True)
class Sensitivities:
    """Relative sensitivities of one slice, and how far the ACS bears them out at each pixel."""

    maps: Complex64[Tensor, "coil pe ro"]
    """Σ |map|² = 1 where the eigenvalue reaches the crop, zero elsewhere."""
    eigenvalues: Float32[Tensor, "pe ro"]
    """From 0 to 1: the part of a source at this pixel that patches of the ACS can hold. Not cropped."""


def espirit(
    acs: SliceAcs,
    *,
    shape: tuple[int, int],
    kernel_size: int = 6,
    threshold: float = 0.02,
    crop: float = 0.8,
    sigma: float | None = None,
) -> Sensitivities:
    """Relative sensitivities as the dominant eigenvectors of the projection onto the patches of the ACS (ESPIRiT).

    Every patch of k-space lies in a small subspace. The mean over all patches of the projection onto it is a
    convolution, so in the image it is one small matrix, coil by coil, in each pixel; the sensitivities are its
    eigenvector of eigenvalue 1. Computed on a coarse grid by power iteration, which the smoothness of the maps allows.

    Args:
        acs: sample spacing must be that of the k-space (same field of view). Noise should be white: prewhiten first.
        shape: pixels of the maps, `n_pe n_ro`.
        kernel_size: side of a patch in samples.
        threshold: singular values of the patches below this part of the largest are taken for noise. The bound is
            raised to what noise of level `sigma` alone would reach.
        crop: maps are zero where the eigenvalue is below this. The kernel is short, so the border is soft; inside the
            object eigenvalues are above 0.9 as a rule.
        sigma: standard deviation of a complex sample's noise, in units of `acs`; None estimates it.

    Returns:
        Maps whose phase is relative to the first principal component of the ACS's coils, and so free of the object's
        phase. Where that virtual coil sees nothing, the phase has no meaning.

    Raises:
        NoCalibration: the ACS has fewer lines or samples than a patch.

    Uecker et al. 2014, Magn Reson Med 71:990-1001, doi:10.1002/mrm.24751.

    >>> import raki, torch
    >>> kspace = torch.from_numpy(raki.phantom_kspace(n_slices=1, n_coils=4, matrix=48)[0])
    >>> raki.espirit(kspace[:, 12:36], shape=(48, 48)).maps.shape
    torch.Size([4, 48, 48])
    """
    n_acs_lines, n_acs_samples = acs.shape[-2:]
    if min(n_acs_lines, n_acs_samples) < kernel_size:
        raise NoCalibration(
            f"the ACS has {n_acs_lines} lines of {n_acs_samples} samples; a kernel of {kernel_size} by {kernel_size} "
            f"samples needs as many of each"
        )
    block = _brightest_block(acs)
    noise = estimate_sigma(block) if sigma is None else sigma
    operators = _pixel_operators(_patch_subspace(block, kernel_size, threshold, noise), shape)
    vectors, eigenvalues = _dominant_eigenvectors(operators)
    _, components = principal_components(coil_covariance(block))
    virtual_coil = components[0]
    # The projection of the virtual coil onto the sensitivities is smooth, whatever phase each eigenvector came with.
    seen = torch.einsum("c,cpr->pr", virtual_coil, vectors)
    projection = _interpolate(vectors * seen.conj(), shape)
    fine_eigenvalues = _interpolate(eigenvalues.to(torch.complex64), shape).real.clamp(0, 1)
    maps = torch.where(fine_eigenvalues >= crop, in_phase_with(virtual_coil, projection), 0)
    return Sensitivities(maps=maps, eigenvalues=fine_eigenvalues)


def _brightest_block(acs: SliceAcs) -> Complex64[Tensor, "coil line sample"]:
    """At most CALIBRATION_SIZE lines and samples around the sample of greatest energy; an echo needn't be centred."""
    energy = acs.abs().square().sum(dim=0)
    brightest = divmod(int(energy.argmax()), energy.shape[1])
    for dim, centre in zip((-2, -1), brightest, strict=True):
        n_kept = min(CALIBRATION_SIZE, acs.shape[dim])
        first = min(max(centre - n_kept // 2, 0), acs.shape[dim] - n_kept)
        acs = acs.narrow(dim, first, n_kept)
    return acs


def _patch_subspace(
    block: SliceAcs, kernel_size: int, threshold: float, sigma: float
) -> Complex64[Tensor, "coil kernel kernel component"]:
    """Orthonormal basis of the patches: left singular vectors whose singular value is above threshold and noise.

    From the Gram matrix of the patches, which are fewer than a patch has samples. Its energies are squares of
    singular values, so double precision keeps small ones apart.
    """
    patches = block.unfold(-2, kernel_size, 1).unfold(-2, kernel_size, 1)
    columns = patches.permute(0, 3, 4, 1, 2).flatten(3).flatten(0, 2)
    energies, basis = torch.linalg.eigh((columns.mH @ columns).to(torch.complex128))
    n_features, n_patches = columns.shape
    noise_bound = NOISE_MARGIN * sigma * (n_features**0.5 + n_patches**0.5)
    kept = energies > max(threshold**2 * float(energies[-1]), noise_bound**2)
    to_basis = (basis[:, kept] / energies[kept].sqrt()).to(torch.complex64)
    return (columns @ to_basis).unflatten(0, (len(block), kernel_size, kernel_size))


def _pixel_operators(
    subspace: Complex64[Tensor, "coil kernel kernel component"], shape: tuple[int, int]
) -> Complex64[Tensor, "pe ro coil coil"]:
    """The mean projection of all patches that hold a sample, as a matrix in each pixel of a coarse grid.

    As a convolution it reaches kernel_size - 1 samples, so few frequencies make up the matrices of all pixels.
    """
    n_coils, kernel_size = subspace.shape[:2]
    flat = subspace.flatten(0, 2)
    side = (n_coils, kernel_size, kernel_size)
    projection = (flat @ flat.mH).unflatten(1, side).unflatten(0, side).permute(1, 2, 4, 5, 0, 3)
    n_shifts = 2 * kernel_size - 1
    convolution = flat.new_zeros(n_shifts, n_shifts, n_coils, n_coils)
    for line in range(kernel_size):
        for sample in range(kernel_size):
            # From sample (line, sample) of the patch to all its samples: shifts from -line to kernel_size - 1 - line.
            first_line, first_sample = kernel_size - 1 - line, kernel_size - 1 - sample
            reached = convolution[first_line : first_line + kernel_size, first_sample : first_sample + kernel_size]
            reached += projection[:, :, line, sample]
    by_line, by_sample = (_waves(_n_grid(n_pixels), kernel_size, flat.device) for n_pixels in shape)
    along_pe = (by_line @ convolution.flatten(1)).unflatten(1, convolution.shape[1:])
    return (by_sample @ along_pe.flatten(2)).unflatten(2, (n_coils, n_coils)) / kernel_size**2


def _waves(n_grid: int, kernel_size: int, device: torch.device) -> Complex64[Tensor, "point shift"]:
    """Transform of shifts of -(kernel_size - 1) … kernel_size - 1 samples to a grid across the field of view."""
    shifts = torch.arange(1 - kernel_size, kernel_size, device=device)
    points = (torch.arange(n_grid, device=device) - n_grid // 2) / n_grid
    return torch.exp(2j * torch.pi * torch.outer(points, shifts))


def _dominant_eigenvectors(
    operators: Complex64[Tensor, "pe ro coil coil"],
) -> tuple[Complex64[Tensor, "coil pe ro"], Float32[Tensor, "pe ro"]]:
    """Unit eigenvector of the greatest eigenvalue in each pixel, of any phase, and that eigenvalue."""
    matrices = operators.flatten(0, 1)
    power = matrices
    for _ in range(N_SQUARINGS):
        power = power @ power
    # The strongest coil has a large part in the eigenvector that it owes its strength to.
    strongest = matrices.diagonal(dim1=1, dim2=2).real.argmax(dim=1)
    vectors = torch.nn.functional.one_hot(strongest, matrices.shape[1]).to(torch.complex64).unsqueeze(-1)
    for _ in range(N_POWER_ITERATIONS):
        vectors = power @ vectors
        vectors = vectors / torch.linalg.vector_norm(vectors, dim=1, keepdim=True).clamp(min=TINY)
    eigenvalues = torch.linalg.vector_norm(matrices @ vectors, dim=1)
    return vectors.mT.reshape(*operators.shape[:3]).movedim(-1, 0), eigenvalues.reshape(operators.shape[:2])


def _n_grid(n_pixels: int) -> int:
    return min(GRID_SIZE, n_pixels)


def _interpolate(
    coarse: Complex64[Tensor, "*any grid_pe grid_ro"], shape: tuple[int, int]
) -> Complex64[Tensor, "*any pe ro"]:
    by_line, by_sample = (_cubic_weights(n_pixels, coarse.device) for n_pixels in shape)
    return by_line @ coarse @ by_sample.mT


def _cubic_weights(n_pixels: int, device: torch.device) -> Complex64[Tensor, "pixel point"]:
    """Lagrange's cubic through the four points around each pixel; the grid is periodic, as is the field of view."""
    n_grid = _n_grid(n_pixels)
    pixels = torch.arange(n_pixels, dtype=torch.float64)
    position = (pixels - n_pixels // 2) * n_grid / n_pixels + n_grid // 2
    first = position.floor().long() - 1
    weights = torch.zeros(n_pixels, n_grid, dtype=torch.float64)
    for node, of_node in enumerate(torch.from_numpy(cubic_weights((position - first).numpy()))):
        weights[pixels.long(), (first + node) % n_grid] += of_node
    return weights.to(torch.complex64).to(device)
