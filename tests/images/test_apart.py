"""A scan that excites several slices at once becomes images of single slices, each where it lies, and says how."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from raki.errors import DamagedScan, UnsupportedScan
from raki.export.writing import write_scan
from raki.formats import read_scan
from raki.images import nmse, object_mask, reconstruct
from raki.images.apart import OTHER_SIGN, taken_apart
from raki.phantom import simulate_multiband, simulate_scan
from raki.prepare import preprocess
from raki.results.comparison import compare
from raki.results.provenance import provenance
from raki.results.report import render_report
from raki.results.trust import trust_rows
from raki.scan.prepared import read_prepared, write_prepared

SIZE = {"n_slices": 4, "n_coils": 6, "matrix": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("apart")


@pytest.fixture(scope="module")
def scan(folder):
    simulate_multiband(folder / "two.h5", multiband=2, caipi_shift=2, acceleration=2, **SIZE)
    return preprocess(read_scan(folder / "two.h5"))


@pytest.fixture(scope="module")
def result(scan):
    return reconstruct(scan, method="grappa", device="cpu")


def test_the_images_are_those_of_slices_excited_alone(folder, result):
    simulate_scan(folder / "alone.h5", acceleration=1, **SIZE)
    alone = reconstruct(preprocess(read_scan(folder / "alone.h5")), method="zero_filled", device="cpu")
    found, wanted = torch.from_numpy(result.result), torch.from_numpy(alone.result)
    mask = object_mask(wanted)
    errors = [nmse(*(images[number] for images in (found, wanted, mask))) for number in range(4)]
    # Any other order has an error of 0.1 and more.
    assert max(errors) < 0.06
    assert result.scan.geometry == alone.scan.geometry


def test_it_says_how_the_slices_were_taken_apart(result):
    apart = result.apart
    assert (apart.n_bands, apart.n_groups) == (2, 2)
    assert sum(apart.n_groups_by_choice.values()) == 2
    assert 0 < apart.leakage <= apart.worst_leakage < 1
    assert set(apart.worst_pair) in ({0, 2}, {1, 3})
    facts = provenance(result, sha256="0", n_bytes=1, scan_id=None, stage_seconds={})
    assert facts["taken_apart"]["leakage"]["worst"] == apart.worst_leakage
    assert next(name for name, _ in trust_rows(result, None)) == "2 slices at once, taken apart by"
    assert any("taken apart by what a single-band reference of them tells" in note for note in result.notes)


def test_large_leakage_is_a_warning_before_one_looks(result):
    told = {}
    for leakage in (0.05, 0.3):
        loud = replace(result, apart=replace(result.apart, worst_leakage=leakage, worst_pair=(3, 1)))
        facts = provenance(loud, sha256="0", n_bytes=1, scan_id=None, stage_seconds={})
        told[leakage] = "up to 30 % of slice 4&#39;s signal in slice 2" in render_report(loud, facts, source_name="s")
    assert told == {0.05: False, 0.3: True}


def test_a_prepared_scan_keeps_groups_turns_and_reference(folder, scan):
    write_prepared(scan, folder / "prepared.h5")
    again = read_prepared(folder / "prepared.h5")
    assert again.groups == scan.groups
    assert again.n_slices == 4
    np.testing.assert_array_equal(again.acs, scan.in_memory().acs)
    np.testing.assert_array_equal(again.kspace, scan.in_memory().kspace)


def test_noise_that_is_reckoned_with_is_that_of_the_separated_slices(result):
    assert result.cross_validation is None
    assert 0.3 < result.apart.noise_gain < 1.5


def test_what_knows_single_slices_only_refuses_sums_in_a_sentence(folder, scan):
    with pytest.raises(UnsupportedScan, match="excites 2 slices at once; raki converts"):
        write_scan(scan, folder / "out.npz")
    with pytest.raises(UnsupportedScan, match="excites 2 slices at once; raki compares"):
        compare(scan, acceleration=2, n_acs_lines=12, methods=("grappa",))


@pytest.mark.parametrize(("n_slices", "multiband"), [(4, 3), (4, 1)])
def test_groups_of_other_sizes_are_not_simulated(folder, n_slices, multiband):
    with pytest.raises(ValueError, match=f"4 slices were asked for, {multiband} at once"):
        simulate_multiband(folder / "no.h5", n_slices=n_slices, multiband=multiband)


@pytest.fixture(scope="module")
def turning(folder):
    """Three at once, a third of a turn apart: the other way round it is another sum."""
    path = folder / "three.h5"
    simulate_multiband(path, multiband=3, caipi_shift=3, n_slices=3, n_coils=8, matrix=48, n_acs_lines=24)
    return preprocess(read_scan(path))


def with_turns(scan, factor):
    turns = tuple(tuple(factor * turn for turn in group) for group in scan.groups.turns)
    return replace(scan, groups=replace(scan.groups, turns=turns))


def test_a_phase_that_turns_the_other_way_than_the_header_says_is_found_and_said(turning):
    right, said = taken_apart(turning, seed=0, device="cpu")
    found, other = taken_apart(with_turns(turning, -1), seed=0, device="cpu")
    assert not said.other_sign
    assert other.other_sign
    assert said.agreement == other.agreement > 0.9
    np.testing.assert_array_equal(found.in_memory().kspace, right.in_memory().kspace)
    assert OTHER_SIGN in other.warnings
    assert OTHER_SIGN not in said.warnings


def test_slices_that_do_not_come_out_as_their_references_are_no_image(turning):
    with pytest.raises(DamagedScan, match="don't come out as their single-band references show them"):
        taken_apart(with_turns(turning, 0.5), seed=0, device="cpu")


def test_a_reference_of_other_slices_is_no_reference(turning):
    swapped = replace(turning, acs=turning.in_memory().acs[[1, 2, 0]])
    with pytest.raises((DamagedScan, UnsupportedScan)):
        taken_apart(swapped, seed=0, device="cpu")
