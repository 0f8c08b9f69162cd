"""Slices whose answer is known, and what is left of them once they were undersampled; in the units of the engine."""

import torch

from benchmarks.objects import simulated_scan
from raki.coils.combination import root_sum_of_squares
from raki.images.metrics import nmse, object_mask
from raki.kspace.measured import measured_slice, unit_scale
from raki.kspace.sampling import find_sampling
from raki.scan.fourier import to_image

CPU = torch.device("cpu")


def complex_noise(shape, number=0):
    """White, of standard deviation 1."""
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


def few_waves(n_coils, n_pe, n_ro, n_waves=4, number=0):
    """A few point objects seen by coils of any sensitivity: as many sources predict every gap exactly."""
    generator = torch.Generator().manual_seed(number)
    y, x = torch.rand(2, n_waves, generator=generator)
    strength = torch.randn(n_coils, n_waves, dtype=torch.complex64, generator=generator)
    along_pe = torch.exp(2j * torch.pi * torch.outer(y, torch.arange(n_pe)))
    along_ro = torch.exp(2j * torch.pi * torch.outer(x, torch.arange(n_ro)))
    return torch.einsum("cw,wp,wr->cpr", strength, along_pe, along_ro)


def full_slice(name="head", *, n_coils=6, matrix=48, snr=40.0):
    """One fully sampled slice of a simulated object (`benchmarks/objects.py`), its peak about 1."""
    kspace = simulated_scan(name, n_coils=n_coils, matrix=matrix, snr=snr).kspace[0]
    return kspace / unit_scale(kspace)


def acquired(n_pe, acceleration, n_acs_lines=16, *, offset=0):
    """Every R-th line, and a block in the middle."""
    sampled = torch.arange(n_pe) % acceleration == offset
    first = n_pe // 2 - n_acs_lines // 2
    sampled[first : first + n_acs_lines] = True
    return sampled


def undersampled(full, acceleration, n_acs_lines=16, *, offset=0, sigma=None, separate=False):
    """What is measured of `full`; the ACS inside, or as a scan of its own."""
    n_pe = full.shape[1]
    with_acs = find_sampling(acquired(n_pe, acceleration, n_acs_lines, offset=offset))
    sampled = acquired(n_pe, acceleration, 0 if separate else n_acs_lines, offset=offset)
    return measured_slice(
        torch.where(sampled[:, None], full, 0),
        full[:, slice(*with_acs.acs_lines)],
        find_sampling(sampled),
        sigma=sigma,
        device=CPU,
    )


def image_error(kspace, full):
    """Energy of the error inside the object over that of the object."""
    reference = root_sum_of_squares(to_image(full))
    return nmse(root_sum_of_squares(to_image(kspace)), reference, object_mask(reference))
