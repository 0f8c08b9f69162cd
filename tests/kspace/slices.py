"""Undersampled slices whose answer is known, for the tests of what fills them."""

import numpy as np
import torch

from raki.kspace.measured import MeasuredSlice
from raki.kspace.sampling import find_sampling
from raki.phantom.coil_array import sensitivities
from raki.phantom.phantom import FOV_MM, phantom_kspace
from raki.scan import lattice_and_acs
from raki.scan.fourier import to_kspace


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


def seen_by_coils(image, n_coils):
    """Peak 1, no model error: an image of pixels, seen by a ring of coils."""
    grid_mm = (np.arange(len(image)) - len(image) // 2) * FOV_MM / len(image)
    maps = torch.from_numpy(sensitivities(grid_mm, grid_mm, 10.0, n_coils))
    kspace = to_kspace(maps * image.to(torch.complex64))
    return kspace / kspace.abs().max()


def line_pairs(n_coils, matrix=96, width=2):
    """A disk with two fields of bars, `width` pixels wide, across either axis."""
    middle = matrix // 2
    rows, columns = torch.meshgrid(torch.arange(matrix), torch.arange(matrix), indexing="ij")
    image = (((rows - middle) ** 2 + (columns - middle) ** 2).sqrt() < 0.38 * matrix).float()
    for across, centre in ((rows, middle - matrix // 8), (columns, middle + matrix // 8)):
        near = ((rows - middle).abs() < matrix // 14) & ((columns - centre).abs() < matrix // 14)
        image[near & (across // width % 2 == 0)] = 0.3
    return seen_by_coils(image, n_coils)


def head(n_coils=8, matrix=64, seed=0):
    kspace = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=n_coils, matrix=matrix, seed=seed))[0]
    return kspace / kspace.abs().max()


def undersampled(full, *, acceleration, n_acs_lines, sigma):
    """The slice as it was acquired: every R-th line and an ACS, its noise level as told."""
    lattice, acs = lattice_and_acs(full.shape[1], acceleration, n_acs_lines, offset=None)
    known = torch.from_numpy(lattice | acs)
    sampling = find_sampling(known)
    first, stop = sampling.acs_lines
    return MeasuredSlice(
        kspace=torch.where(known[:, None], full, 0),
        acs=full[:, first:stop],
        known=known,
        acs_inside=True,
        sampling=sampling,
        sigma=sigma,
    )
