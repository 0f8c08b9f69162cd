"""3-D scans from the raw file to slices, against what the phantom is."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from raki.cli import app
from raki.errors import NoCalibration, UnsupportedScan
from raki.export import write_scan
from raki.formats import read_scan
from raki.images import reconstruct
from raki.images.metrics import nmse
from raki.images.resampling import as_slices
from raki.inspection.inspection import inspect
from raki.phantom import simulate_volume
from raki.phantom.volume import volume_kspace
from raki.prepare import prepare, preprocess
from raki.results.comparison import compare
from raki.scan.prepared import open_prepared, write_prepared

N, PARTITIONS, COILS = 24, 10, 6
SIZE = {"n_partitions": PARTITIONS, "n_coils": COILS, "matrix": N}


def truth():
    """Root sum of squares of the fully sampled slab, `slice row column`."""
    kspace = np.fft.ifftshift(volume_kspace(PARTITIONS, 2.0, COILS, N, 0), axes=(0, 2, 3))
    images = np.fft.fftshift(np.fft.ifftn(kspace, axes=(0, 2, 3), norm="ortho"), axes=(0, 2, 3))
    return np.sqrt((abs(images) ** 2).sum(axis=1))[..., N // 2 : N // 2 + N].astype(np.float32)


def error(images, reference):
    return float(nmse(torch.from_numpy(images.copy()), torch.from_numpy(reference.copy())))


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    path = tmp_path_factory.mktemp("volume") / "mprage.h5"
    simulate_volume(path, **SIZE, acceleration=(2, 2), shift=1, n_acs=10, noise_level=0.0)
    return path


def test_a_fully_sampled_slab_is_what_was_drawn(tmp_path):
    path = tmp_path / "full.h5"
    simulate_volume(path, **SIZE, acceleration=(1, 1), noise_level=0.0)
    made = reconstruct(preprocess(read_scan(path)), device="cpu")
    np.testing.assert_allclose(made.result, truth(), atol=1e-4 * truth().max())
    assert "no point is missing" in " ".join(made.notes)


def test_slices_beyond_the_image_are_cut_off(tmp_path):
    path = tmp_path / "oversampled.h5"
    simulate_volume(path, **SIZE, acceleration=(1, 1), n_slices=8, noise_level=0.0)
    made = reconstruct(preprocess(read_scan(path)), device="cpu")
    np.testing.assert_allclose(made.result, truth()[1:9], atol=1e-4 * truth().max())
    assert made.scan.n_slices == 8


def test_skipped_points_are_filled(raw):
    made = reconstruct(preprocess(read_scan(raw)), method="grappa", device="cpu")
    zero_filled, grappa = (made.images[name] / made.images["zero_filled"].max() for name in made.images)
    reference = truth() * (grappa * truth()).sum() / (truth() ** 2).sum()
    assert error(grappa, reference) < 0.5 * error(zero_filled, reference)
    assert made.result.shape == (PARTITIONS, N, N)
    assert (made.scan.acceleration, made.scan.cell) == (4, (2, 2))


def test_planes_become_slices_with_every_pixel_in_its_place(raw):
    scan = preprocess(read_scan(raw))
    planes = np.random.default_rng(0).random((N, N, PARTITIONS)).astype(np.float32)
    slices = as_slices(planes, scan)
    assert slices.shape == (PARTITIONS, N, N)
    assert slices[3, 5, 7] == planes[7, 5, 3]


def test_the_prepared_file_holds_the_acquired_points_alone_and_gives_the_same_images(raw, tmp_path):
    scan = preprocess(read_scan(raw))
    path = tmp_path / "prepared.h5"
    prepare([raw], path)
    with open_prepared(path) as prepared:
        assert prepared.slab == scan.slab
        np.testing.assert_array_equal(prepared.sampled, scan.sampled)
        np.testing.assert_array_equal(prepared.in_memory().kspace, scan.in_memory().kspace)
        images = reconstruct(prepared, method="grappa", device="cpu").result
    np.testing.assert_array_equal(images, reconstruct(scan, method="grappa", device="cpu").result)
    acquired = int(scan.sampled.sum()) * COILS * N * 8
    assert path.stat().st_size < 1.2 * acquired + 200_000


def test_fewer_virtual_coils_do_too(raw):
    scan = preprocess(read_scan(raw))
    made, plain = (
        reconstruct(scan, method="zero_filled", device="cpu", **others) for others in ({"n_virtual_coils": 5}, {})
    )
    assert error(made.result, plain.result) < 0.05


def test_the_file_is_inspected(raw):
    found = inspect([raw], device="cpu")
    assert found.kind == "Cartesian 3-D"
    assert found.feasibility.reconstructable
    assert found.phase_encoding.partitions.accelerations == (2, 2)
    assert found.phase_encoding.partitions.shift == 1
    assert {each.method for each in found.feasibility.methods if each.usable} == {
        "zero_filled",
        "grappa",
        "raki_linear",
        "raki",
    }


def test_the_command_line_makes_results_of_it(raw, tmp_path):
    ran = CliRunner().invoke(app, ["reconstruct", str(raw), "-o", str(tmp_path / "out"), "--method", "grappa"])
    assert ran.exit_code == 0, ran.output
    report = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "points of both phase-encode directions were acquired, R = 2 \N{MULTIPLICATION SIGN} 2" in report
    assert f'viewBox="0 0 {N} {PARTITIONS}"' in report


@pytest.mark.parametrize("name", ["scan.npz", "scan.h5", "scan.hdr"])
def test_it_is_not_converted_into_what_would_mean_something_else(raw, tmp_path, name):
    with pytest.raises(UnsupportedScan, match="3-D"):
        write_scan(read_scan(raw), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_methods_are_not_compared_on_it(raw):
    with pytest.raises(UnsupportedScan, match="3-D"):
        compare(preprocess(read_scan(raw)), acceleration=2, n_acs_lines=12, device="cpu")


def test_points_at_random_with_a_small_block_are_refused_before_anything_is_filled(raw, tmp_path):
    scan = preprocess(read_scan(raw)).in_memory()
    sampled = np.random.default_rng(0).random(scan.sampled.shape) < 0.3
    sampled[N // 2 - 4 : N // 2 + 4, 2:8] = True
    other = type(scan)(**{**vars(scan), "sampled": sampled})
    write_prepared(other, tmp_path / "random.h5")
    with open_prepared(tmp_path / "random.h5") as prepared, pytest.raises(NoCalibration, match="8 x 8 points"):
        reconstruct(prepared, device="cpu")


N_SLABS, OVERLAP = 3, 4


@pytest.fixture(scope="module")
def slabs(tmp_path_factory):
    path = tmp_path_factory.mktemp("slabs") / "tof.h5"
    simulate_volume(path, **SIZE, acceleration=(2, 1), n_acs=8, n_slabs=N_SLABS, overlap=OVERLAP, noise_level=0.0)
    return path


def test_each_slab_is_reconstructed_as_if_it_were_alone(slabs, raw, tmp_path):
    """The middle one of three is the slab that a scan of one has."""
    alone = tmp_path / "alone.h5"
    simulate_volume(alone, **SIZE, acceleration=(2, 1), n_acs=8, noise_level=0.0)
    together, one = (reconstruct(preprocess(read_scan(path)), method="grappa", device="cpu") for path in (slabs, alone))
    assert together.result.shape == (N_SLABS * PARTITIONS, N, N)
    np.testing.assert_array_equal(together.result[PARTITIONS : 2 * PARTITIONS], one.result)
    assert together.scan.n_slices == N_SLABS * PARTITIONS
    assert "3 slabs, which overlap by 8 mm" in " ".join(together.scan.remarks)


def test_what_slabs_have_in_common_lies_in_one_place_and_looks_alike(slabs):
    scan = preprocess(read_scan(slabs))
    images = reconstruct(scan, method="grappa", device="cpu").result
    z_mm = [scan.geometry.place_of(n, scan.n_slices).position_mm[2] for n in range(scan.n_slices)]
    assert z_mm[PARTITIONS : PARTITIONS + OVERLAP] == pytest.approx(z_mm[PARTITIONS - OVERLAP : PARTITIONS])
    last, first = images[PARTITIONS - OVERLAP : PARTITIONS], images[PARTITIONS : PARTITIONS + OVERLAP]
    assert error(first, last) < 0.5 * error(first, images[:OVERLAP])


def test_slabs_come_back_from_the_prepared_file_and_lie_in_nifti_files_of_their_own(slabs, tmp_path):
    prepare([slabs], tmp_path / "prepared.h5")
    with open_prepared(tmp_path / "prepared.h5") as prepared:
        assert (prepared.slab.n_slabs, prepared.n_slices) == (N_SLABS, N_SLABS * PARTITIONS)
    ran = CliRunner().invoke(app, ["reconstruct", str(slabs), "-o", str(tmp_path / "out"), "--method", "grappa"])
    assert ran.exit_code == 0, ran.output
    files = sorted(path.name for path in (tmp_path / "out").glob("image*.nii.gz"))
    assert files == ["image-1.nii.gz", "image-2.nii.gz", "image-3.nii.gz"]
