"""ISMRMRD HDF5: lines come out at their places, however they were recorded."""

import ismrmrd
import numpy as np
import pytest

from raki.formats import open_scan, read_scan
from raki.phantom.phantom import phantom_kspace
from raki.phantom.simulation import simulate_scan
from raki.scan.header import parse_header
from tests.formats.ismrmrd.conftest import images


def test_noise_free_scan_is_the_phantom_on_the_sampled_lines(tmp_path):
    path = tmp_path / "scan.h5"
    simulate_scan(path, n_slices=2, n_coils=3, matrix=32, acceleration=2, n_acs_lines=8, noise_level=0.0, seed=5)
    scan = read_scan(path)
    truth = phantom_kspace(2, 3, 32, 5, readout_oversampling=2)
    np.testing.assert_array_equal(scan.kspace[:, :, scan.sampled], truth[:, :, scan.sampled])
    assert not scan.kspace[:, :, ~scan.sampled].any()
    assert scan.noise is None
    assert scan.noise_dwell_ratio == 1.0


def test_simulated_scan_is_read_as_it_was_planned(raw):
    scan = read_scan(raw)
    assert scan.kspace.shape == (2, 3, 32, 64)
    assert scan.acs_lines == (12, 20)
    assert scan.noise.shape == (3, 16 * 64)
    assert scan.noise_dwell_ratio == 0.5
    assert scan.readout_oversampling == 2.0
    assert scan.geometry.fov_mm == (220.0, 220.0, 4.0)
    assert scan.geometry.matrix == (32, 32)
    assert scan.geometry.slice_spacing_mm == pytest.approx(10.0)
    assert scan.geometry.position_mm[2] == pytest.approx(11.0)
    assert parse_header(scan.header_xml).subjectInformation.patientName == "Phantom^Digital"


def test_fully_sampled_scan_is_all_calibration(tmp_path):
    simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
    scan = read_scan(tmp_path / "scan.h5")
    assert scan.sampled.all()
    assert scan.acs_lines == (0, 16)


def test_undersampled_scan_without_calibration_says_so(tmp_path):
    simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=2, matrix=16, acceleration=2, n_acs_lines=0)
    assert read_scan(tmp_path / "scan.h5").acs_lines is None


def test_what_the_library_writes_is_read_the_same(raw, tmp_path):
    path = tmp_path / "library.h5"
    with ismrmrd.Dataset(raw, mode="r") as source, ismrmrd.Dataset(path, mode="w") as copy:
        copy.write_xml_header(source.read_xml_header())
        for index in range(source.number_of_acquisitions()):
            copy.append_acquisition(source.read_acquisition(index))
    np.testing.assert_array_equal(read_scan(path).kspace, read_scan(raw).kspace)


def test_order_of_acquisition_does_not_matter(raw, edit):
    shuffled = edit(lambda acquisitions: np.random.default_rng(1).permutation(acquisitions))
    np.testing.assert_array_equal(read_scan(shuffled).kspace, read_scan(raw).kspace)


def test_slices_counted_in_time_are_put_in_space(raw, edit):
    def swap(acquisitions):
        counter = acquisitions["head"]["idx"]["slice"]
        counter[images(acquisitions)] = 1 - counter[images(acquisitions)]

    swapped, scan = read_scan(edit(swap)), read_scan(raw)
    np.testing.assert_array_equal(swapped.kspace, scan.kspace)
    assert swapped.geometry == scan.geometry


def test_averages_keep_the_noise_at_the_level_of_one_recording(raw, edit):
    def twice(acquisitions):
        again = acquisitions.copy()
        again["head"]["idx"]["average"] = 1
        return np.concatenate([acquisitions, again[images(again)]])

    np.testing.assert_allclose(read_scan(edit(twice)).kspace, np.sqrt(2) * read_scan(raw).kspace, rtol=1e-5)


def test_lines_for_the_scanners_own_use_are_left_out(raw, edit):
    def navigator(acquisitions):
        extra = acquisitions[images(acquisitions)][:5].copy()
        extra["head"]["flags"] = [1 << 22, 1 << 23, 1 << 25, 1 << 26, 1 << 27]
        return np.concatenate([acquisitions, extra])

    np.testing.assert_array_equal(read_scan(edit(navigator)).kspace, read_scan(raw).kspace)


def test_asymmetric_echo_and_discarded_samples_keep_the_echo_in_the_centre(raw, edit):
    def cut(acquisitions):
        for index in np.flatnonzero(images(acquisitions)):
            samples = acquisitions["data"][index].view(np.complex64).reshape(3, 64)[:, 20:]
            acquisitions["data"][index] = np.ascontiguousarray(samples).reshape(-1).view(np.float32)
            head = acquisitions["head"][index]
            head["number_of_samples"], head["center_sample"] = 44, 12
            head["discard_pre"], head["discard_post"] = 2, 3

    scan, full = read_scan(edit(cut)), read_scan(raw)
    np.testing.assert_array_equal(scan.kspace[..., 22:61], full.kspace[..., 22:61])
    assert not scan.kspace[..., :22].any()
    assert not scan.kspace[..., 61:].any()
    assert scan.echo == (22, 61)
    assert full.echo is None


def test_slices_acquired_in_turns_are_read_one_by_one(raw, edit):
    def in_turns(acquisitions):
        order = np.lexsort([acquisitions["head"]["idx"]["slice"], acquisitions["head"]["idx"]["kspace_encode_step_1"]])
        return acquisitions[order]

    whole = read_scan(raw)
    with open_scan([edit(in_turns)]) as scan:
        assert not isinstance(scan.kspace, np.ndarray)
        for index in (1, 0):
            np.testing.assert_array_equal(scan.kspace[index], whole.kspace[index])
        with pytest.raises(IndexError, match="slice 2"):
            scan.kspace[2]


def test_lines_that_serve_both_are_embedded_whatever_the_header_claims(raw, edit):
    path = edit(change_xml=lambda xml: xml.replace(">embedded<", ">separate<"))
    np.testing.assert_array_equal(read_scan(path).kspace, read_scan(raw).kspace)


def test_header_with_a_vendors_own_elements_is_read(raw, edit):
    path = edit(change_xml=lambda xml: xml.replace("</encoding>", "</encoding><vendorExtra>1</vendorExtra>"))
    np.testing.assert_array_equal(read_scan(path).kspace, read_scan(raw).kspace)


def test_real_scan_is_read_right(real_scans):
    scan = read_scan(real_scans / "vendor/SNR_R3_14ch_grappa3_noise.h5")
    assert scan.kspace.shape == (1, 14, 144, 384)
    assert scan.noise.shape == (14, 384)
    assert scan.noise_dwell_ratio == pytest.approx(2.4 / 20)
    lattice = set(range(18, 124, 3))
    assert set(np.flatnonzero(scan.sampled)) == lattice | set(range(48, 96))
    assert scan.acs_lines == (48, 96)
    energy = (np.abs(scan.kspace[0]) ** 2).sum(axis=0)
    brightest = np.unravel_index(energy.argmax(), energy.shape)
    assert np.abs(np.subtract(brightest, (72, 192))).max() <= 2
    assert scan.geometry.fov_mm == (280.0, 210.0, 8.0)
    assert scan.geometry.matrix == (144, 192)
    assert scan.geometry.read_direction[0] == pytest.approx(-1.0)
