"""Combination of coils."""

import torch

from raki.coils import root_sum_of_squares

GENERATOR = torch.Generator().manual_seed(0)


def test_two_coils_combine_as_the_sides_of_a_right_triangle():
    images = torch.stack([torch.full((2, 2), 3j), torch.full((2, 2), -4 + 0j)])
    torch.testing.assert_close(root_sum_of_squares(images), torch.full((2, 2), 5.0))


def test_any_unitary_mixing_of_coils_gives_the_same_image():
    images = torch.randn(2, 5, 4, 6, dtype=torch.complex64, generator=GENERATOR)
    mixing, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.complex64, generator=GENERATOR))
    mixed = torch.einsum("ij,sjpr->sipr", mixing, images)
    combined = root_sum_of_squares(mixed)
    assert combined.shape == (2, 4, 6)
    torch.testing.assert_close(combined, root_sum_of_squares(images))
