"""The filled k-space on request: what the image was made of, with every acquired sample as it came."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import raki
from raki.coils import root_sum_of_squares
from raki.images.reconstruction import reconstruct_as
from raki.options import choose
from raki.phantom.volume import simulate_volume
from raki.results.filled import kept_kspace
from raki.scan.fourier import to_image


@pytest.fixture(params=[False, True], ids=["slices", "slab"])
def scan(tmp_path, request):
    raw = tmp_path / "scan.h5"
    if request.param:
        simulate_volume(raw, n_coils=4, matrix=32, n_partitions=12, acceleration=(2, 1), n_acs=12)
    else:
        raki.simulate_scan(raw, n_slices=2, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    return raki.preprocess(raki.read_scan(raw))


def filled_by(scan, folder, **asked):
    chosen = choose({"command line": {"method": "grappa", **asked}})
    kept = kept_kspace(chosen.options.kspace, folder, scan, method="grappa")
    result = reconstruct_as(chosen, scan, device="cpu", keep=kept.take if kept else None)
    return result, folder / "kspace.h5"


def test_it_holds_the_acquired_samples_as_they_came_and_nothing_missing(scan, tmp_path):
    _, path = filled_by(scan, tmp_path, kspace=True)
    with h5py.File(path) as file:
        kspace, sampled = file["kspace"][:], file["sampled"][:]
        assert file["kspace"].attrs["axes"] == ("x coil pe pe2" if scan.slab else "image coil pe ro")
    assert (sampled == scan.sampled).all()
    acquired = np.broadcast_to(sampled if scan.slab else sampled[:, None], kspace.shape[2:])
    for number, plane in enumerate(kspace):
        assert (plane[:, acquired] == scan.kspace[number][:, acquired]).all()
    assert np.count_nonzero(kspace) == kspace.size


def test_the_images_are_made_of_it(tmp_path):
    raw = tmp_path / "scan.h5"
    raki.simulate_scan(raw, n_slices=2, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    result, path = filled_by(raki.preprocess(raki.read_scan(raw)), tmp_path, kspace=True)
    with h5py.File(path) as file:
        images = root_sum_of_squares(to_image(torch.from_numpy(file["kspace"][:]))).numpy()
    assert np.allclose(images, result.result, rtol=1e-5, atol=1e-6 * images.max())


def test_nothing_is_written_unless_it_is_asked_for(scan, tmp_path):
    _, path = filled_by(scan, tmp_path)
    assert not path.exists()


def test_it_stands_beside_the_images_and_the_next_run_without_it_takes_it_away(tmp_path):
    raw, out = tmp_path / "scan.h5", tmp_path / "out"
    raki.simulate_scan(raw, n_slices=1, n_coils=4, matrix=32, acceleration=2, n_acs_lines=12)
    scan, source = raki.preprocess(raki.read_scan(raw)), raki.results.Source.of(raw)
    for asked in (True, False):
        result, path = filled_by(scan, tmp_path, kspace=asked)
        written = raki.write_results(result, out, source=source, kspace=path if asked else None)
        assert (out / "kspace.h5" in written) is asked
        assert (out / "kspace.h5").exists() is asked
        assert not Path(tmp_path / "kspace.h5").exists()
