"""Virtual coils: what they keep, and that their noise stays white."""

import pytest
import torch

from raki.coils.combination import root_sum_of_squares
from raki.coils.compression import geometric_compression, svd_compression
from raki.images.metrics import nmse, object_mask
from raki.kspace.completion import complete
from raki.phantom.phantom import phantom_kspace
from raki.scan.fourier import to_image

N_COILS, MATRIX = 8, 48

both = pytest.mark.parametrize("compress", [svd_compression, geometric_compression])


def complex_noise(shape, number=0):
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(number))


@pytest.fixture(scope="module")
def kspace():
    full = torch.from_numpy(phantom_kspace(n_slices=2, n_coils=N_COILS, matrix=MATRIX, seed=0))
    return full + 0.01 * complex_noise(full.shape)


@pytest.fixture(scope="module")
def acs(kspace):
    return kspace[0, :, 12:36]


def energy(samples):
    return float(samples.abs().square().double().sum())


@both
@pytest.mark.parametrize("n_coils", [1, 4, 7, N_COILS])
def test_loss_is_the_energy_that_the_virtual_coils_lack(compress, acs, n_coils):
    compression = compress(acs, n_coils=n_coils)
    virtual = compression.apply(acs)
    assert virtual.shape == (n_coils, *acs.shape[1:])
    assert compression.n_coils_out == n_coils
    assert energy(virtual) == pytest.approx((1 - compression.loss) * energy(acs), rel=1e-5)


@both
def test_white_noise_stays_white_and_at_its_level(compress, acs):
    compression = compress(acs, n_coils=5)
    gram = compression.matrix @ compression.matrix.mH
    torch.testing.assert_close(gram, torch.eye(5, dtype=torch.complex64).expand_as(gram), rtol=0, atol=1e-5)
    noise = compression.apply(complex_noise((N_COILS, 400, MATRIX), 1)).flatten(1)
    covariance = noise @ noise.mH / noise.shape[1]
    torch.testing.assert_close(covariance, torch.eye(5, dtype=torch.complex64), rtol=0, atol=0.03)


def test_a_noise_scan_is_compressed_as_the_image_is(acs):
    compression = svd_compression(acs, n_coils=3)
    noise = complex_noise((N_COILS, 50))
    torch.testing.assert_close(compression.apply_to_noise(noise), compression.apply(noise[:, None])[:, 0])
    with pytest.raises(ValueError, match="prewhiten before compressing"):
        geometric_compression(acs, n_coils=3).apply_to_noise(noise)


def test_no_other_virtual_coils_keep_more_than_the_principal_components(acs):
    kept = 1 - svd_compression(acs, n_coils=3).loss
    for number in range(5):
        rows = torch.linalg.qr(complex_noise((N_COILS, 3), number))[0].mH
        assert energy(torch.einsum("vc,cpr->vpr", rows, acs)) < kept * energy(acs)


@pytest.mark.parametrize("n_coils", range(1, N_COILS))
def test_a_matrix_for_each_position_loses_less_than_one_for_all(acs, n_coils):
    assert geometric_compression(acs, n_coils=n_coils).loss < svd_compression(acs, n_coils=n_coils).loss


@both
def test_as_many_virtual_coils_as_coils_lose_nothing(compress, acs, kspace):
    compression = compress(acs, n_coils=N_COILS)
    assert compression.loss == 0
    combined = root_sum_of_squares(to_image(compression.apply(kspace)))
    torch.testing.assert_close(combined, root_sum_of_squares(to_image(kspace)), rtol=1e-4, atol=1e-4)


@both
@pytest.mark.parametrize("loss", [0.0, 1e-3, 0.03, 0.5])
def test_a_loss_is_met_with_the_fewest_coils(compress, acs, loss):
    compression = compress(acs, loss=loss)
    assert compression.loss <= loss
    if compression.n_coils_out > 1:
        assert compress(acs, n_coils=compression.n_coils_out - 1).loss > loss


@both
def test_the_matrix_serves_other_slices_and_keeps_missing_lines_missing(compress, acs, kspace):
    compression = compress(acs, n_coils=4)
    undersampled = torch.where((torch.arange(MATRIX) % 3 == 0)[:, None], kspace, 0)
    virtual = compression.apply(undersampled)
    assert virtual.shape == (2, 4, MATRIX, MATRIX)
    assert not virtual[..., 1::3, :].any()
    torch.testing.assert_close(virtual[1], compression.apply(undersampled[1]))
    torch.testing.assert_close(virtual[..., ::3, :], compression.apply(kspace)[..., ::3, :])


@both
def test_slices_are_pooled(compress, kspace):
    pooled = compress(kspace, n_coils=3)
    lost = energy(kspace) - energy(pooled.apply(kspace))
    assert lost == pytest.approx(pooled.loss * energy(kspace), rel=1e-3)
    for other in kspace:
        assert lost <= energy(kspace) - energy(compress(other, n_coils=3).apply(kspace))


@both
def test_coils_may_come_in_any_order(compress, acs):
    order = torch.tensor([7, 2, 5, 0, 1, 6, 3, 4])
    compression, permuted = compress(acs, n_coils=3), compress(acs[order], n_coils=3)
    assert permuted.loss == pytest.approx(compression.loss, rel=1e-4)
    torch.testing.assert_close(permuted.matrix, compression.matrix[..., order], rtol=0, atol=1e-3)


def test_virtual_coils_are_turned_to_be_nearest_to_their_neighbours(acs):
    """A turn is the best one if the product with the neighbour is Hermitian and has no negative eigenvalue."""
    matrix = geometric_compression(acs, n_coils=4).matrix
    products = matrix[1:] @ matrix[:-1].mH
    torch.testing.assert_close(products, products.mH, rtol=0, atol=1e-5)
    assert torch.linalg.eigvalsh(products).min() > -1e-5


def test_the_brightest_position_keeps_its_principal_components(acs):
    profile = to_image(geometric_compression(acs, n_coils=4).apply(acs)[:, :, None])[:, :, 0]
    brightest = profile[..., int(profile.abs().square().sum(dim=(0, 1)).argmax())]
    covariance = brightest @ brightest.mH
    energies = covariance.diagonal().real
    assert energies.tolist() == sorted(energies.tolist(), reverse=True)
    torch.testing.assert_close(covariance.abs(), energies.diag(), rtol=0, atol=1e-4 * float(energies[0]))


def test_compressed_kspace_can_still_be_filled(kspace):
    sampled = torch.arange(MATRIX) % 3 == 0
    sampled[12:36] = True
    undersampled = torch.where(sampled[:, None], kspace[0], 0)
    reference = root_sum_of_squares(to_image(kspace[0]))

    def error(compression):
        given = undersampled if compression is None else compression.apply(undersampled)
        image = root_sum_of_squares(to_image(complete(given, "grappa")[0]))
        return nmse(image, reference, object_mask(reference))

    assert error(geometric_compression(undersampled[:, 12:36], n_coils=6)) < 1.3 * error(None)


@both
def test_wrong_numbers_are_refused_in_words(compress, acs):
    with pytest.raises(ValueError, match="9 virtual coils were asked for and there are 8 coils; ask for 1 to 8"):
        compress(acs, n_coils=9)
    with pytest.raises(ValueError, match="0 virtual coils"):
        compress(acs, n_coils=0)
    with pytest.raises(ValueError, match="from 0 to below 1"):
        compress(acs, loss=1.5)
    for wrong in ({}, {"n_coils": 3, "loss": 0.1}):
        with pytest.raises(ValueError, match="give one of them"):
            compress(acs, **wrong)
    with pytest.raises(ValueError, match="data have 5 coils; this compression was made for 8"):
        compress(acs, n_coils=3).apply(acs[:5])


def test_geometric_compression_belongs_to_one_readout(acs):
    with pytest.raises(ValueError, match=r"40 samples along the readout; .* made for 48"):
        geometric_compression(acs, n_coils=3).apply(acs[..., :40])


@both
def test_silence_loses_nothing(compress):
    compression = compress(torch.zeros(3, 4, 5, dtype=torch.complex64), loss=0.0)
    assert compression.loss == 0
    assert torch.isfinite(compression.matrix).all()
