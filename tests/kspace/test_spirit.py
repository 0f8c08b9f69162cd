"""SPIRiT: a kernel that holds everywhere fills what is missing anywhere, and touches nothing that was acquired."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raki.kspace.spirit import SpiritKernel, kernel_side, most_coils, solved, solved_after
from tests.kspace.simulated_slices import complex_noise

COILS, N = 5, 24


def exact_plane(number=0):
    """Coils whose sensitivities are nine waves each, on a torus: every sample is a sum of those around it, exactly."""
    object_, maps = complex_noise((N, N), number), complex_noise((COILS, 3, 3), number + 1)
    return sum(
        maps[:, row, column, None, None] * object_.roll((row - 1, column - 1), (0, 1))
        for row in range(3)
        for column in range(3)
    )


def some(part, number=0):
    known = torch.rand((N, N), generator=torch.Generator().manual_seed(number)) < part
    known[4:20, 4:20] |= torch.rand((16, 16), generator=torch.Generator().manual_seed(number)) < 0.2
    return known


def error(found, true):
    return float((found - true).abs().square().sum() / true.abs().square().sum())


def test_the_kernel_is_the_least_squares_one_and_never_reads_the_sample_itself():
    acs, side, ridge = complex_noise((2, 9, 8), 3), 3, 1e-2
    weights = SpiritKernel.of(acs, side, ridge).weights
    patches = acs.unfold(1, side, 1).unfold(2, side, 1).permute(1, 2, 0, 3, 4).reshape(-1, 2 * side**2)
    patches = patches.to(torch.complex128)
    added = ridge * patches.abs().square().sum() / patches.shape[1]
    for coil in range(2):
        own = coil * side**2 + side**2 // 2
        others = [index for index in range(patches.shape[1]) if index != own]
        sources, target = patches[:, others], patches[:, own]
        gram = sources.mH @ sources + added * torch.eye(len(others))
        wanted = torch.linalg.solve(gram, sources.mH @ target)
        torch.testing.assert_close(weights[coil].flatten()[others].to(torch.complex128), wanted, atol=1e-5, rtol=1e-4)
        assert weights[coil].flatten()[own] == 0


def test_the_consistency_is_the_convolution_and_its_adjoint():
    kernel = SpiritKernel.of(complex_noise((2, 12, 12), 1), 3, 1e-3)
    plane = complex_noise((2, 10, 8), 2)

    def apart(kspace):
        moved = torch.stack([kspace.roll((1 - row, 1 - column), (1, 2)) for row in range(3) for column in range(3)])
        return torch.einsum("ijk,kjpr->ipr", kernel.weights.flatten(2), moved) - kspace

    images = torch.fft.ifft2(plane, norm="ortho").flatten(1).T.unsqueeze(-1)
    by_images = (kernel.consistency(10, 8) @ images).squeeze(-1).T
    energy = torch.linalg.vecdot(images.squeeze(-1).T.flatten(), by_images.flatten())
    torch.testing.assert_close(energy.real, apart(plane).abs().square().sum(), rtol=1e-4, atol=1e-4)
    assert abs(energy.imag) < 1e-3 * energy.real


def test_what_the_kernel_holds_for_is_found_wherever_it_is_missing():
    true = exact_plane()
    consistency = SpiritKernel.of(true, 5, 1e-12).consistency(N, N)
    known = some(0.5)
    errors = [error(each, true) for each in solved_after(true * known, known, consistency, (5, 20, 400))]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4


@given(part=st.floats(0.1, 0.9), number=st.integers(0, 100))
def test_acquired_samples_come_back_bit_for_bit_and_others_are_not_read(part, number):
    true, known = exact_plane(), some(part, number)
    consistency = SpiritKernel.of(true[:, 4:20, 4:20], 3, 1e-2).consistency(N, N)
    poisoned = torch.where(known, true, torch.nan)
    found = solved(poisoned, known, consistency, n_steps=3)
    assert torch.equal(found[:, known], true[:, known])
    assert torch.isfinite(found).all()


def test_scale_phase_and_the_order_of_the_coils_do_not_matter():
    true, known = exact_plane(), some(0.5)

    def filled(plane):
        return solved(plane * known, known, SpiritKernel.of(plane[:, 4:20, 4:20], 3, 1e-2).consistency(N, N))

    plain, order = filled(true), [3, 0, 4, 1, 2]
    assert torch.equal(filled(4 * true), 4 * plain)
    torch.testing.assert_close(filled(1j * true), 1j * plain, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(filled(true[order]), plain[order], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("n_coils", "block", "side"),
    [(4, (24, 24), 7), (8, (24, 24), 5), (16, (24, 24), 5), (16, (16, 16), 3), (4, (8, 8), 3)],
)
def test_the_kernel_is_as_large_as_the_block_has_examples_for(n_coils, block, side):
    assert kernel_side(n_coils, *block) == side


def test_a_small_block_is_for_few_coils():
    assert [most_coils(n, n) for n in (2, 5, 8, 14, 24)] == [0, 1, 4, 16, 53]
