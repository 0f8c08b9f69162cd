"""A scan that doesn't fit is done in smaller parts, elsewhere, or refused with numbers; never left to be killed."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raki import memory
from raki.errors import TooLarge
from raki.inspection.memory import Extent
from raki.memory import MARGIN, extent_of, memory_limit, reconstruct_within, slices_at_once
from raki.options import choose
from raki.scan import Geometry, Scan
from tests.results.example_reconstruction import example_reconstruction

EXTENT = Extent(n_coils=16, n_pe=256, n_ro=256, n_images=20, n_pixels=256**2, has_gaps=True)


CHOSEN = choose({})


def prepared(n_images=3, sampled=(0, 2, 4, 6)):
    lines = np.zeros(8, bool)
    lines[list(sampled)] = True
    return Scan(
        kspace=np.zeros((n_images, 2, 8, 8), np.complex64),
        sampled=lines,
        acs_lines=None,
        noise=None,
        noise_dwell_ratio=1.0,
        readout_oversampling=1.0,
        geometry=Geometry(fov_mm=(8.0, 8.0, 1.0), matrix=(8, 8), slice_spacing_mm=1.0),
        header_xml="",
    )


def progress(_stage, _fraction):
    """Nobody looks."""


@given(st.integers(1, 64), st.integers(1, 16))
def test_as_many_slices_as_fit_and_no_more(gib, most):
    limit = gib << 28
    try:
        number = slices_at_once(EXTENT, limit, most)
    except TooLarge:
        assert EXTENT.bytes_needed(1) > MARGIN * limit
        return
    assert 1 <= number <= most
    assert number == 1 or EXTENT.bytes_needed(number) <= limit
    assert number == most or EXTENT.bytes_needed(number + 1) > limit


def test_a_refusal_names_what_is_needed_what_there_is_and_what_to_do():
    with pytest.raises(TooLarge, match=r"takes about 0\.\d GiB .* 16 coils.*job has 0\.1 GiB.*raki\.toml"):
        slices_at_once(EXTENT, 100 << 20, 4)


def test_a_slice_more_or_a_coil_more_takes_no_less():
    assert EXTENT.bytes_needed(2) > EXTENT.bytes_needed(1)
    assert Extent(**{**vars(EXTENT), "n_coils": 17}).bytes_needed(1) > EXTENT.bytes_needed(1)
    assert Extent(**{**vars(EXTENT), "has_gaps": False}).bytes_needed(1) < EXTENT.bytes_needed(1)


def test_an_explanation_takes_its_part():
    explained = choose({"command line": {"explain": True}})
    assert Extent(**{**vars(EXTENT), "is_explained": True}).bytes_needed(1) > EXTENT.bytes_needed(1)
    seen = []

    def reconstruct(*_, **__):
        seen.append(torch.get_num_threads())
        return example_reconstruction()

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for chosen in (CHOSEN, explained):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(memory, "memory_limit", lambda: extent_of(prepared()).bytes_needed(2))
                reconstruct_within(chosen, prepared(), progress, reconstruct)
    finally:
        torch.set_num_threads(before)
    assert seen == [2, 1]


def test_a_large_explanation_is_written_before_the_next_scan_is_computed(monkeypatch):
    plain, explained = example_reconstruction(), example_reconstruction(with_explanation=True)
    n_bytes = sum(volume.nbytes for volume in (*plain.images.values(), *plain.maps.values()))
    monkeypatch.setattr(memory, "memory_limit", lambda: 1.5 * n_bytes / memory.SHARE_BESIDE)
    assert [memory.is_large(each) for each in (plain, explained)] == [False, True]


def test_the_containers_limit_counts_where_there_is_one(tmp_path):
    limit, none = tmp_path / "memory.max", tmp_path / "none"
    limit.write_text("1000000\n")
    none.write_text("max\n")
    assert memory_limit((limit,)) == 1_000_000
    assert memory_limit((none, limit)) == 1_000_000
    assert memory_limit((tmp_path / "missing",)) > 1 << 30


def test_lines_that_are_missing_are_gaps_and_lines_beyond_the_last_are_none():
    assert extent_of(prepared()).has_gaps
    assert not extent_of(prepared(sampled=(2, 3, 4))).has_gaps


def test_with_little_memory_fewer_slices_are_under_way(monkeypatch):
    before, seen = torch.get_num_threads(), []
    monkeypatch.setattr(memory, "memory_limit", lambda: extent_of(prepared()).bytes_needed(1))

    def reconstruct(*_, **__):
        seen.append(torch.get_num_threads())
        return example_reconstruction()

    reconstruct_within(CHOSEN, prepared(), progress, reconstruct)
    assert seen == [1]
    assert torch.get_num_threads() == before


def test_what_the_gpu_has_no_memory_for_is_done_on_the_processor(monkeypatch):
    devices, images = [], example_reconstruction()

    def reconstruct(_chosen, _scan, *, progress, keep, model, device=None):
        assert progress is given
        devices.append(device)
        if device is None:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images

    given = progress
    assert reconstruct_within(CHOSEN, prepared(), given, reconstruct) is images
    assert devices == [None, "cpu"]
