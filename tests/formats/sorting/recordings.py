"""Scans in memory whose recordings are as they have to be for a test: a phantom's lines, and what is done to them."""

from functools import cache

import numpy as np
from ismrmrd import xsd

from raki.formats.acquisitions import HEAD, flag_bits
from raki.formats.scan_reader import sorted_scan
from raki.phantom import phantom_kspace
from raki.phantom.simulation import scan_header

N = 32
ALL = range(N)


class InMemory:
    """Acquisitions out of lists."""

    def __init__(self, header_xml, heads, lines):
        self.header_xml, self.heads, self.lines = header_xml, heads, lines

    def samples(self, wanted):
        return (self.lines[index] for index in wanted)


def phantom(n_slices=1, n_coils=4, noise=0.0, seed=0):
    """k-space of the phantom, `slice coil pe ro`, with noise of this standard deviation."""
    random = np.random.default_rng(seed)
    kspace = _noise_free(n_slices, n_coils)
    both = random.standard_normal((2, *kspace.shape))
    return (kspace + noise * (both[0] + 1j * both[1]) / np.sqrt(2)).astype(np.complex64)


@cache
def _noise_free(n_slices, n_coils):
    return phantom_kspace(n_slices, n_coils, N, 0, readout_oversampling=2)


def times_image(kspace, factor):
    """k-space of the images times a factor `pe ro` or what broadcasts to it."""
    axes = (-2, -1)
    images = np.fft.ifft2(np.fft.ifftshift(kspace, axes=axes))
    return np.fft.fftshift(np.fft.fft2(images * np.fft.ifftshift(factor)), axes=axes).astype(np.complex64)


def recorded(kspace, lines=ALL, *, flags=(), user=None, **counters):
    """Heads and samples of some lines of all slices."""
    heads = np.zeros((len(kspace), len(lines)), HEAD)
    heads["active_channels"], heads["number_of_samples"] = kspace.shape[1], kspace.shape[3]
    heads["center_sample"], heads["sample_time_us"] = kspace.shape[3] // 2, 5.0
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = np.eye(3)
    heads["idx"]["kspace_encode_step_1"] = list(lines)
    heads["idx"]["slice"] = np.arange(len(kspace))[:, None]
    heads["position"][..., 2] = 5.0 * np.arange(len(kspace))[:, None]
    if flags:
        heads["flags"] = flag_bits(*flags)
    for name, value in counters.items():
        heads["idx"][name] = value
    for number, value in (user or {}).items():
        heads["idx"]["user"][..., number] = value
    return heads.ravel(), [slice_[:, line] for slice_ in kspace for line in lines]


def acquisitions(*parts, header=None):
    """What was recorded, part by part, as one scan. The header is that of a fully sampled one of the first part."""
    heads = np.concatenate([heads for heads, _ in parts])
    lines = [line for _, some in parts for line in some]
    known = header or scan_header(len(np.unique(heads["position"][:, 2])), len(lines[0]), N, 1)
    return InMemory(xsd.ToXML(known), heads, lines)


def read(*parts, header=None):
    """The same, sorted and in memory."""
    return sorted_scan(acquisitions(*parts, header=header)).in_memory()
