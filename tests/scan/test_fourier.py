"""The transform is centred and unitary."""

import torch
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from raki.scan.fourier import to_image, to_kspace

shapes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


def complex_noise(shape, number):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


@seed(0)
@settings(max_examples=20, deadline=None)
@given(shapes, st.integers(0, 1000))
def test_fourier_pair_is_unitary(shape, number):
    images = complex_noise(shape, number)
    kspace = to_kspace(images)
    torch.testing.assert_close(to_image(kspace), images)
    torch.testing.assert_close(to_kspace(to_image(images)), images)
    torch.testing.assert_close(kspace.norm(), images.norm())


@seed(0)
@settings(max_examples=20, deadline=None)
@given(shapes)
def test_dc_is_at_half_the_matrix(shape):
    n_pe, n_ro = shape[-2:]
    kspace = to_kspace(torch.ones(shape, dtype=torch.complex64))
    assert torch.allclose(kspace[..., n_pe // 2, n_ro // 2], torch.tensor((n_pe * n_ro) ** 0.5 + 0j))
    kspace[..., n_pe // 2, n_ro // 2] = 0
    assert kspace.abs().max() < 1e-5


def test_a_step_in_kspace_is_a_phase_ramp_from_the_image_centre():
    kspace = torch.zeros(1, 8, 6, dtype=torch.complex64)
    kspace[0, 4 + 1, 3] = 1
    image = to_image(kspace)
    expected = torch.exp(2j * torch.pi * (torch.arange(8) - 4) / 8) / 48**0.5
    torch.testing.assert_close(image, expected[None, :, None].expand(1, 8, 6).to(torch.complex64))
