"""A structure that is all there is judged to be all there, and one that fades, widens or folds over is judged to.

No time is judged here.
"""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.fading import Shown, fading, feature_sets, ghosts_over_grappa
from benchmarks.features import KINDS, PLACES, Response, every_pair, insert_features, judge
from benchmarks.plots import why_no_plot
from benchmarks.ratios import Case
from benchmarks.synthetic import noisy_slices
from raki.coils.combination import root_sum_of_squares
from raki.scan.fourier import to_image

ACCELERATION = 3


@pytest.fixture(scope="module")
def full():
    return torch.from_numpy(next(noisy_slices(1, 6, 96)))


@pytest.fixture(scope="module")
def explanations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explanation")
    options = ["--objects", "disks", "--coils", "6", "--matrix", "64", "-R", "2"]
    result = CliRunner().invoke(app, ["explanation", *options, "-o", str(folder)])
    assert result.exit_code == 0, result.output
    return json.loads((folder / "explanation.json").read_text())


def test_parts_of_a_structure_add_up_to_what_is_shown_of_it(explanations):
    for one in explanations["explained"]:
        assert sum(one["parts"].values()) == pytest.approx(one["shown"])
    gratings = [one["parts"] for one in explanations["explained"] if one["kind"] == "grating_2"]
    lesions = [one["parts"] for one in explanations["explained"] if one["kind"] == "lesion_3_sigma"]
    assert all(max(parts, key=parts.get) == "leaned_2" for parts in gratings)
    assert all(parts["leaned_16"] + parts["leaned_8"] > 0.7 for parts in lesions)


def test_an_explanation_names_the_octave_of_a_spoilt_line(explanations):
    assert [one["octave"] for one in explanations["spoilt"]] == [8, 4, 2]
    for one in explanations["spoilt"]:
        outer = {name: share for name, share in one["shares"].items() if name != "leaned_16"}  # the phase turns with it
        assert max(outer, key=outer.get) == f"leaned_{one['octave']}"


@pytest.fixture(scope="module")
def inserted(full):
    return insert_features(full, 5, acceleration=ACCELERATION)


@pytest.fixture(scope="module")
def images(full, inserted):
    return root_sum_of_squares(to_image(full)), root_sum_of_squares(to_image(inserted[0]))


def test_structures_add_their_shape_to_the_magnitude_image(inserted, images):
    _, features = inserted
    response = images[1] - images[0]
    for one in features:
        expected = one.amplitude * one.profile
        assert 0.9 < (response * expected).sum() / expected.square().sum() < 1.01, one.kind
    everywhere = sum(one.amplitude * one.profile for one in features)
    assert (response - everywhere).square().sum() < 0.01 * everywhere.square().sum()


def test_structures_neither_overlap_nor_fold_onto_each_other(inserted):
    _, features = inserted
    assert len(features) > 8
    for index, one in enumerate(features):
        folded = one.neighbourhood.roll(96 // ACCELERATION, 0) | one.neighbourhood.roll(2 * 96 // ACCELERATION, 0)
        assert (folded & ~one.neighbourhood & ~one.aliases).sum() == 0
        for other in features[:index]:
            assert not (other.neighbourhood & (one.neighbourhood | folded)).any()


def test_the_same_seed_gives_the_same_structures_and_what_is_left_out_can_be_asked_for(full, inserted):
    kspace, features = inserted
    again, _ = insert_features(full, 5, acceleration=ACCELERATION)
    assert torch.equal(kspace, again)
    assert not torch.equal(kspace, insert_features(full, 6, acceleration=ACCELERATION)[0])
    found = {(one.kind, one.place) for one in features}
    wanted = [pair for pair in every_pair() if pair not in found]
    _, others = insert_features(full, 5, acceleration=ACCELERATION, wanted=wanted)
    assert {(one.kind, one.place) for one in others} <= set(wanted)
    assert set(every_pair()) == {(kind, place) for kind in KINDS for place in PLACES}


def test_the_full_scan_itself_has_amplitude_and_width_1_and_no_ghost(inserted, images):
    for one in judge(inserted[1], *images, *images):
        assert one.amplitude == pytest.approx(1)
        assert one.width is None if "grating" in one.kind else one.width == pytest.approx(1)
        assert max(one.ghost, one.ghost_of_all) < 1e-9


def test_a_blurred_image_loses_amplitude_and_gains_width(full, images):
    kinds = ("grating_2", "grating_3", "lesion_5_percent", "point")
    kspace, features = insert_features(full, 0, acceleration=2, wanted=[(kind, "half way") for kind in kinds])
    images = images[0], root_sum_of_squares(to_image(kspace))
    found = judge(features, *[_blurred_along_pe(image) for image in images], *images)
    amplitudes = {one.kind: one.amplitude for one in found}
    assert amplitudes["grating_2"] < 0.2 < amplitudes["grating_3"] < amplitudes["lesion_5_percent"] < 0.98
    assert amplitudes["point"] == pytest.approx(0.5, abs=0.05)
    assert all(one.width is None or one.width > 1.03 for one in found)
    assert all(one.ghost < 0.01 for one in found)


def test_a_ghost_is_found_where_fold_over_puts_it(inserted, images):
    with_ghost = images[1] + 0.1 * (images[1] - images[0]).roll(96 // ACCELERATION, 0)
    for one in judge(inserted[1], images[0], with_ghost, *images):
        assert one.amplitude == pytest.approx(1, abs=0.02)
        assert one.ghost == pytest.approx(0.01, rel=0.1)
        assert one.ghost_of_all == pytest.approx(0.01, rel=0.1)


def test_a_vanished_structure_has_no_width(inserted, images):
    for one in judge(inserted[1], images[0], images[0], *images):
        assert (one.amplitude, one.width, one.ghost) == (0, None, 0)


def test_an_empty_slice_is_refused():
    with pytest.raises(ValueError, match="no object"):
        insert_features(torch.zeros(2, 40, 40, dtype=torch.complex64), 0, acceleration=2)


def shown(method, amplitude, *, kind="point", place="edge", ghost=0.01):
    response = Response(
        kind=kind, place=place, centre=(9, 9), amplitude=amplitude, width=None, ghost=ghost, ghost_of_all=2 * ghost
    )
    return Shown(case=Case("head", 0, 4, 24), method=method, set_index=0, response=response)


def test_a_method_stands_beside_grappa_at_each_place_that_grappa_shows():
    found = [
        *(shown("grappa", amplitude, place=place) for place, amplitude in (("edge", 1.0), ("centre", 0.8))),
        *(shown("raki", amplitude, place=place) for place, amplitude in (("edge", 0.95), ("centre", 0.92))),
        shown("grappa", 0.1, place="half way"),
        shown("raki", 0.01, place="half way"),
        *(shown(method, 0.5, kind="grating_2") for method in ("grappa", "raki")),
    ]
    point = fading(found, "point", "raki")
    assert point.n_places == 3
    assert point.n_shown_by_grappa == 2, "a place where GRAPPA shows nothing says nothing"
    assert point.amplitude_over_grappa == pytest.approx(1.88 / 1.9)
    assert point.least_over_grappa == pytest.approx(0.95)
    assert point.least_where == "head slice 0 R=4 ACS 24, edge"
    assert (point.least, point.width, point.ghost_over_grappa) == (0.01, None, pytest.approx(1))
    assert ghosts_over_grappa(found, "raki", faint=False) == {"mean": pytest.approx(1), "most": pytest.approx(1)}
    assert ghosts_over_grappa(found, "raki", faint=True) == {}


@pytest.mark.parametrize(
    ("amplitudes", "ghost", "met"),
    [
        ((0.99, 0.95), 0.02, (True, True)),
        ((0.94, 0.94), 0.01, (False, True)),
        ((1.1, 0.89), 0.01, (False, True)),
        ((1, 1), 0.021, (True, False)),
    ],
)
def test_the_goals_are_a_mean_a_least_and_ghosts(amplitudes, ghost, met):
    places = ("edge", "centre")
    found = [
        *(shown("grappa", 1.0, place=place) for place in places),
        *(shown("raki", a, place=place, ghost=ghost) for place, a in zip(places, amplitudes, strict=True)),
    ]
    one = fading(found, "point", "raki")
    assert (one.is_kept, one.has_few_ghosts) == met


def test_sets_are_strong_or_faint_and_none_has_what_another_has(full):
    sets = [features for _, features in feature_sets(full, ACCELERATION, 2, seed=1)]
    pairs = [(one.kind, one.place) for features in sets for one in features]
    assert len(set(pairs)) == len(pairs) > 16
    assert [{one.kind.startswith("lesion") for one in features} for features in sets[:2]] == [{False}, {False}]
    assert all(one.kind.startswith("lesion") for features in sets[2:] for one in features)


def test_the_command_judges_beside_grappa(tmp_path):
    np.save(tmp_path / "head.npy", np.stack(list(noisy_slices(1, 4, 64))))
    options = ["--method", "zero_filled", "-R", "2", "--acs", "16", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, ["features", str(tmp_path / "head.npy"), *options])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "features.json").read_text())
    if not why_no_plot():
        assert (tmp_path / "features.png").read_bytes().startswith(b"\x89PNG")
    methods = {one["method"] for one in found["shown"]}
    assert methods == {"grappa", "zero_filled"}
    sharp = {one["method"]: one for one in found["fading"] if one["kind"] == "grating_2"}
    assert sharp["zero_filled"]["amplitude"] < 0.7 < sharp["grappa"]["amplitude"]
    assert not sharp["zero_filled"]["is_kept"]
    assert found["ghosts_of_all_over_grappa"]["zero_filled"]["strong"]["mean"] > 2


def _blurred_along_pe(image):
    kernel = torch.tensor([0.25, 0.5, 0.25])[None, None, :, None]
    return conv2d(image[None, None], kernel, padding=(1, 0))[0, 0]
