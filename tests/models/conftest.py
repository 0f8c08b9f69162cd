"""Small scans of one place, a result of the first with weights, and a store with a model of it."""

from types import SimpleNamespace

import pytest

import raki
from raki.models import Store, promote
from raki.results import Source, write_results

SMALL = {"n_slices": 2, "n_coils": 6, "matrix": 48, "acceleration": 3, "noise_level": 0.02}


def scan_file(path, **changed):
    raki.simulate_scan(path, **{**SMALL, "n_acs_lines": 0, **changed})
    return path


def prepared(path):
    return raki.preprocess(raki.read_scan(path))


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """`full`: a result with weights, `store`: a store with the model "head-6ch" of it; `bare`: a scan without ACS."""
    folder = tmp_path_factory.mktemp("place")
    with_acs, bare = scan_file(folder / "a.h5", n_acs_lines=20), scan_file(folder / "b.h5")
    scan = prepared(with_acs)
    result = raki.reconstruct(scan, method="raki_linear", device="cpu", with_weights=True, with_maps=False)
    write_results(result, folder / "a", source=Source.of(with_acs))
    store = Store(root=folder / "store")
    kept = promote(folder / "a", "head-6ch", store=store)
    return SimpleNamespace(
        folder=folder, file=with_acs, bare=bare, scan=scan, reconstruction=result, result=folder / "a", store=store,
        kept=kept,
    )  # fmt: skip


@pytest.fixture
def model_folder(place, tmp_path):
    """A copy of the model, to break."""
    folder = tmp_path / "broken"
    folder.mkdir()
    for file in place.kept.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
