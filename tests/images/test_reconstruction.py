"""From a prepared scan to images: the right pixels, the right noise in each, and an account of how."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan, NoCalibration
from raki.images import COMPARED_WITH, reconstruct
from raki.images.resampling import Grid, fit_matrix, on_image_matrix
from raki.kspace.completion import complete
from raki.options import COMBINATIONS
from raki.phantom.phantom import phantom_kspace
from raki.scan import Frame, Geometry, Scan
from raki.scan.fourier import to_image, to_kspace
from tests.results.example_reconstruction import example_reconstruction


def scan_of(kspace, *, acceleration=1, n_acs_lines=24, matrix=None, prewhitened=False, noise=None):
    n_pe = kspace.shape[-2]
    acs_lines = (n_pe // 2 - n_acs_lines // 2, n_pe // 2 + n_acs_lines - n_acs_lines // 2)
    sampled = np.zeros(n_pe, bool)
    sampled[::acceleration] = True
    sampled[slice(*acs_lines)] = True
    return Scan(
        kspace=np.where(sampled[:, None], kspace, 0).astype(np.complex64),
        sampled=sampled,
        acs_lines=acs_lines,
        noise=noise,
        noise_dwell_ratio=1.0,
        readout_oversampling=1.0,
        geometry=Geometry(fov_mm=(220.0, 220.0, 5.0), matrix=matrix or (n_pe, kspace.shape[-1]), slice_spacing_mm=5.0),
        header_xml="<ismrmrdHeader/>",
        prewhitened=prewhitened,
    )


def complex_noise(*shape, seed=0):
    real, imaginary = np.random.default_rng(seed).normal(scale=np.sqrt(0.5), size=(2, *shape))
    return (real + 1j * imaginary).astype(np.complex64)


def error(images, truth):
    return float(np.linalg.norm(images - truth) / np.linalg.norm(truth))


@pytest.fixture(scope="module")
def head():
    return phantom_kspace(n_slices=2, n_coils=6, matrix=64, seed=0)


@pytest.fixture(scope="module")
def noisy_scan(head):
    scan = scan_of(head + 1e-3 * np.abs(head).max() * complex_noise(*head.shape), acceleration=3, n_acs_lines=20)
    scan.kspace.setflags(write=False)  # as a memory map would be: reconstruction changes nothing of the scan
    return scan


@pytest.fixture(scope="module")
def seen():
    """What was reported of the progress of `reconstructed`."""
    return []


@pytest.fixture(scope="module")
def reconstructed(noisy_scan, seen):
    return reconstruct(
        noisy_scan, seed=4, device="cpu", progress=lambda stage, fraction: seen.append((stage, fraction))
    )


def root_sum_of_squares(kspace):
    return np.sqrt((np.abs(to_image(torch.from_numpy(kspace)).numpy()) ** 2).sum(axis=1))


def test_a_fully_sampled_scan_is_its_own_image_by_every_method(head):
    result = reconstruct(scan_of(head))
    assert list(result.images) == ["zero_filled", "grappa", "raki"]
    for volume in result.images.values():
        np.testing.assert_allclose(volume, root_sum_of_squares(head), rtol=1e-4, atol=1e-5 * np.abs(head).max())


def test_filling_the_skipped_lines_recovers_the_head(reconstructed, head):
    """Undersampled 3-fold the zero-filled head is folded; both methods unfold it."""
    errors = {method: error(volume, root_sum_of_squares(head)) for method, volume in reconstructed.images.items()}
    assert errors["grappa"] < 0.5 * errors["zero_filled"]
    assert errors["raki"] < 1.05 * errors["grappa"]


def test_it_reports_what_it_was_made_from_and_how_long_each_method_took(reconstructed):
    assert reconstructed.method == "raki"
    assert reconstructed.scan.acceleration == 3
    assert reconstructed.scan.net_acceleration == 64 / (22 + 20 - 6)  # lattice and ACS share 6 lines
    assert (reconstructed.scan.n_slices, reconstructed.scan.n_coils) == (2, 6)
    assert list(reconstructed.seconds) == ["zero_filled", "grappa", "raki"]
    assert all(seconds >= 0 for seconds in reconstructed.seconds.values())
    assert reconstructed.result is reconstructed.images["raki"]


@pytest.mark.parametrize("method", COMPARED_WITH)
def test_a_method_of_the_comparison_is_not_run_twice(head, method):
    result = reconstruct(scan_of(head, acceleration=2), method=method)
    assert set(result.images) == set(COMPARED_WITH)
    assert list(result.images)[-1] == method


def test_the_same_seed_gives_the_same_bits(reconstructed, noisy_scan):
    again = reconstruct(noisy_scan, seed=4, device="cpu")
    np.testing.assert_array_equal(again.result, reconstructed.result)


def test_progress_goes_through_the_methods_in_turn_and_never_back(reconstructed, seen):
    stages = {
        stage: [fraction for _, fraction in steps] for stage, steps in itertools.groupby(seen, key=lambda s: s[0])
    }
    assert [stage for stage, _ in itertools.groupby(seen, key=lambda step: step[0])] == [
        "zero_filled",
        "grappa",
        "raki",
    ]
    for fractions in stages.values():
        assert fractions == sorted(fractions)
        assert 0 <= fractions[0] <= fractions[-1] == 1.0


sizes = st.integers(1, 24)


@settings(derandomize=True, deadline=None)
@given(size=st.tuples(sizes, sizes))
def test_zero_padding_to_twice_the_matrix_puts_a_pixel_between_each_two(size):
    """Sinc interpolation about the same centre: every second pixel is the old image times the unit's factor."""
    kspace = torch.from_numpy(complex_noise(2, *size))
    fine = to_image(fit_matrix(kspace, (2 * size[0], 2 * size[1])))
    rows, columns = ([2 * n // 2 + 2 * (index - n // 2) for index in range(n)] for n in size)
    np.testing.assert_allclose(fine[:, rows][:, :, columns], to_image(kspace), atol=1e-5)


@settings(derandomize=True, deadline=None)
@given(size=st.tuples(sizes, sizes), matrix=st.tuples(sizes, sizes))
def test_dc_stays_dc_in_every_matrix(size, matrix):
    kspace = torch.zeros(1, *size, dtype=torch.complex64)
    kspace[0, size[0] // 2, size[1] // 2] = 1
    fitted = fit_matrix(kspace, matrix)
    assert fitted.shape == (1, *matrix)
    assert torch.count_nonzero(fitted) == 1
    assert fitted[0, matrix[0] // 2, matrix[1] // 2] != 0


@pytest.mark.parametrize("matrix", [(64, 64), (96, 80), (48, 128), (32, 32)])
def test_noise_of_unit_variance_is_unit_noise_in_every_matrix(matrix):
    """The unit of a prewhitened scan's image: E|pixel|² is the number of coils, 4, where there is nothing but noise."""
    scan = scan_of(complex_noise(2, 4, 64, 64), matrix=matrix, prewhitened=True)
    assert np.mean(reconstruct(scan, method="grappa").result ** 2) == pytest.approx(4.0, rel=0.05)


def test_a_point_stays_where_it_is():
    """Rows along phase-encode, columns along readout, neither turned round, in a matrix larger than the k-space."""
    images = torch.zeros(1, 2, 40, 48, dtype=torch.complex64)
    images[:, :, 20 + 7, 24 - 9] = 1
    scan = scan_of(to_kspace(images).numpy(), matrix=(80, 96))
    result = reconstruct(scan, method="zero_filled").result[0]
    assert np.unravel_index(result.argmax(), result.shape) == (40 + 2 * 7, 48 - 2 * 9)


def test_an_oversampled_readout_is_refused_with_what_to_do(head):
    with pytest.raises(ValueError, match=r"oversampled 2-fold.*preprocess first"):
        reconstruct(dataclasses.replace(scan_of(head), readout_oversampling=2.0))


def test_an_unknown_method_is_refused_with_those_there_are(head):
    with pytest.raises(ValueError, match=r"'sense'.*zero_filled, grappa, raki"):
        reconstruct(scan_of(head), method="sense")


def test_a_sample_that_is_not_a_number_stops_the_reconstruction_where_it_was_acquired_only(head):
    scan = scan_of(head, acceleration=2)
    scan.kspace[:, :, 1] = np.nan
    assert not scan.sampled[1]
    assert np.isfinite(reconstruct(scan, method="grappa").result).all()
    scan.kspace[1, 2, 0, 5] = np.nan
    with pytest.raises(DamagedScan):
        reconstruct(scan, method="grappa")


def test_skipped_lines_without_calibration_lines_are_refused(head):
    with pytest.raises(NoCalibration):
        reconstruct(scan_of(head, acceleration=4, n_acs_lines=0))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_there_is_no_reconstruction_with_a_pixel_that_is_not_finite(bad):
    example = example_reconstruction()
    broken = example.result.copy()
    broken[0, 0, 0] = bad
    with pytest.raises(ValueError, match="1 pixels of the grappa images are not finite"):
        dataclasses.replace(example, images={**example.images, "grappa": broken})


def test_there_is_no_reconstruction_whose_images_do_not_fit_the_geometry():
    example = example_reconstruction()
    images = {name: volume[:, :-1] for name, volume in example.images.items()}
    with pytest.raises(ValueError, match=r"\(3, 31, 40\).*needs \(3, 32, 40\)"):
        dataclasses.replace(example, images=images, maps={})
    with pytest.raises(ValueError, match=r"g_factor maps have shape \(3, 31, 40\)"):
        dataclasses.replace(example, images={}, maps={"g_factor": example.maps["g_factor"][:, :-1]})


def test_a_reconstruction_has_an_image_for_each_slice_of_each_frame():
    example = example_reconstruction(frames=(Frame(), Frame(contrast=1)))
    assert (example.scan.n_slices, example.scan.n_images, len(example.result)) == (3, 6, 6)
    with pytest.raises(ValueError, match=r"\(3, 32, 40\).*needs \(6, 32, 40\)"):
        dataclasses.replace(example, images={name: volume[:3] for name, volume in example.images.items()}, maps={})


def test_frames_are_reconstructed_as_if_each_were_a_scan(head):
    scan = scan_of(head, acceleration=2)
    both = dataclasses.replace(
        scan, kspace=np.concatenate([scan.kspace, 2 * scan.kspace]), frames=(Frame(), Frame(repetition=1))
    )
    one, two = (reconstruct(found, method="grappa", device="cpu") for found in (scan, both))
    assert (two.scan.n_slices, two.scan.frames) == (2, both.frames)
    np.testing.assert_array_equal(two.result[:2], one.result)
    np.testing.assert_array_equal(two.result[2:], 2 * one.result)  # a power of two rounds nothing


@pytest.mark.parametrize(
    ("first", "stop", "acceleration", "encoded"),
    [
        (0, 64, 1, (0, 64)),
        (10, 64, 1, (10, 64)),
        (0, 64, 3, (0, 64)),  # the last lattice line is 63
        (0, 62, 3, (0, 61)),
        (12, 64, 3, (12, 64)),
    ],
)
def test_lines_beyond_the_encoded_ones_were_never_meant_to_be_acquired(head, first, stop, acceleration, encoded):
    scan = scan_of(head[:1], acceleration=acceleration, n_acs_lines=20)
    sampled = scan.sampled.copy()
    sampled[:first] = sampled[stop:] = False
    scan = dataclasses.replace(scan, sampled=sampled, kspace=np.where(sampled[:, None], scan.kspace, 0))
    assert reconstruct(scan, method="grappa", device="cpu").scan.encoded_lines == encoded


def test_it_counts_the_calibration_lines_that_were_acquired_apart(head, reconstructed):
    scan = dataclasses.replace(scan_of(head, acceleration=2, n_acs_lines=0), acs=head[:, :, 20:44])
    assert reconstruct(scan, method="grappa", device="cpu").scan.n_acs_lines_apart == 24
    assert reconstructed.scan.n_acs_lines_apart == 0


def test_the_maps_and_the_choice_are_those_of_the_filling(reconstructed, noisy_scan):
    _, report = complete(
        torch.tensor(noisy_scan.kspace), sampled=torch.tensor(noisy_scan.sampled), seed=4, device="cpu", with_maps=True
    )
    assert reconstructed.cross_validation == report.cross_validation
    assert set(reconstructed.maps) == {"g_factor", "standard_error", "structure_kept"}
    for name, volume in reconstructed.maps.items():
        expected = torch.stack([getattr(maps, name) for maps in report.maps])
        np.testing.assert_allclose(volume, expected, rtol=1e-5)


def test_it_tells_where_the_brightness_comes_from_where_it_is_asked(noisy_scan, reconstructed):
    assert reconstructed.explanation == {}
    found = reconstruct(noisy_scan, device="cpu", with_maps=False, with_explanation=True)
    np.testing.assert_allclose(sum(found.explanation.values()), found.result, atol=2e-5 * found.result.max())
    zeros = reconstruct(noisy_scan, method="zero_filled", with_explanation=True, device="cpu")
    assert zeros.explanation == {}
    assert any(note.startswith("Where the brightness comes from can't be told") for note in zeros.notes)


@pytest.mark.parametrize("matrix", [(128, 128), (96, 48), (48, 48)])
def test_in_another_matrix_the_parts_of_a_region_add_up(noisy_scan, matrix):
    geometry = dataclasses.replace(noisy_scan.geometry, matrix=matrix)
    found = reconstruct(
        dataclasses.replace(noisy_scan, geometry=geometry), device="cpu", with_maps=False, with_explanation=True
    )
    region = (slice(None), *(slice(n // 4, 3 * n // 4) for n in matrix))
    assert sum(found.explanation.values())[region].mean() == pytest.approx(found.result[region].mean(), rel=0.03)


def test_there_are_maps_only_where_they_are_asked_for_and_the_network_filled_lines(head):
    undersampled = scan_of(head[:1], acceleration=2)
    for scan, options in (
        (undersampled, {"with_maps": False}),
        (undersampled, {"method": "grappa"}),
        (scan_of(head[:1]), {}),
    ):
        assert reconstruct(scan, device="cpu", **options).maps == {}
    assert reconstruct(undersampled, device="cpu", with_maps=False).cross_validation is not None
    assert reconstruct(undersampled, method="grappa").cross_validation is None


@pytest.mark.parametrize("matrix", [(96, 112), (48, 64)])
def test_the_standard_error_means_the_same_in_every_matrix(noisy_scan, head, matrix):
    """Root mean square of error over standard error is about the same as in the k-space's own matrix.

    What may have faded stands at edges: there a map is interpolated less well than where it is smooth.
    """
    full = head + 1e-3 * np.abs(head).max() * complex_noise(*head.shape)
    ratios = []
    for size in ((64, 64), matrix):
        geometry = dataclasses.replace(noisy_scan.geometry, matrix=size)
        found = reconstruct(dataclasses.replace(noisy_scan, geometry=geometry), seed=4, device="cpu")
        truth = reconstruct(scan_of(full, matrix=size), method="zero_filled").result
        bright = truth > 0.3 * truth.max()
        errors, expected = (found.result - truth)[bright], found.maps["standard_error"][bright]
        ratios.append(np.sqrt(np.mean(errors**2) / np.mean(expected**2)))
    assert ratios[1] == pytest.approx(ratios[0], rel=0.15)


@settings(derandomize=True, deadline=None)
@given(size=st.tuples(sizes, sizes), times=st.integers(1, 3))
def test_a_map_keeps_its_values_and_their_places_in_a_finer_matrix(size, times):
    """As zero-padding does with the image; and nothing lies outside of what the map held."""
    pixels = np.random.default_rng(0).random(size).astype(np.float32)
    larger = times * size[0], times * size[1]
    fine = on_image_matrix(pixels, Grid(encoded=larger, matrix=larger))
    rows, columns = ([times * n // 2 + times * (index - n // 2) for index in range(n)] for n in size)
    np.testing.assert_allclose(fine[rows][:, columns], pixels, rtol=1e-5)
    assert pixels.min() - 1e-6 <= fine.min() <= fine.max() <= pixels.max() + 1e-6


def test_a_map_is_cut_where_the_image_is():
    """Phase oversampling of 2: the middle half of the encoded rows are the image."""
    pixels = np.random.default_rng(0).random((64, 32)).astype(np.float32)
    grid = Grid(encoded=(64, 32), matrix=(32, 32))
    np.testing.assert_allclose(on_image_matrix(pixels, grid), pixels[16:48], rtol=1e-6)


def test_as_many_virtual_coils_as_coils_lose_nothing(head):
    """A unitary mix of the coils: the root sum of squares is the same, and so is GRAPPA's."""
    scan = scan_of(head, acceleration=2, noise=1e-3 * complex_noise(6, 500))
    mixed = reconstruct(scan, method="grappa", n_virtual_coils=6)
    np.testing.assert_allclose(mixed.result, reconstruct(scan, method="grappa").result, atol=1e-3 * mixed.result.max())
    assert mixed.notes[0] == "Coils compressed from 6 to 6; 0 % of the ACS energy is lost."


def test_fewer_virtual_coils_cost_what_the_notes_say(head):
    scan = scan_of(head, noise=1e-3 * complex_noise(6, 500))
    result = reconstruct(scan, n_virtual_coils=3)
    assert (result.n_virtual_coils, result.scan.n_coils) == (3, 6)
    energy = [np.sum(volume.astype(float) ** 2) for volume in (result.result, root_sum_of_squares(head))]
    stated = float(result.notes[0].split("; ")[1].split(" %")[0]) / 100
    assert 1 - energy[0] / energy[1] == pytest.approx(stated, rel=0.2)
    with pytest.raises(ValueError, match="7 virtual coils were asked for and there are 6"):
        reconstruct(scan, n_virtual_coils=7)


def test_a_compressed_scan_that_is_damaged_is_still_called_so(head):
    scan = scan_of(head, acceleration=2)
    scan.kspace[1, 2, 32, 5] = np.nan
    with pytest.raises(DamagedScan):
        reconstruct(scan, method="grappa", n_virtual_coils=4)


def test_adaptive_combination_is_as_bright_and_its_background_darker(noisy_scan):
    rss, adaptive = (reconstruct(noisy_scan, method="grappa", combine=one).result for one in COMBINATIONS)
    bright = rss > 0.3 * rss.max()
    assert np.mean(adaptive[bright]) == pytest.approx(np.mean(rss[bright]), rel=0.02)
    corner = (slice(None), slice(6), slice(6))
    assert np.mean(adaptive[corner]) < 0.8 * np.mean(rss[corner])


def test_with_adaptive_combination_the_notes_say_what_the_standard_error_is_of(noisy_scan):
    notes = reconstruct(noisy_scan, combine="adaptive", device="cpu").notes
    assert "The standard error is that of the root-sum-of-squares image, not of the adaptive combination." in notes
    assert len(reconstruct(noisy_scan, method="grappa", combine="adaptive").notes) == 1


def test_an_unknown_combination_is_refused_with_those_there_are(head):
    with pytest.raises(ValueError, match=r"'sum'.*rss, adaptive"):
        reconstruct(scan_of(head), combine="sum")
