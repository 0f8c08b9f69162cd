"""A structure that is all there is judged to be all there, and one that fades, widens or folds over is judged to.

No time is judged here.
"""

import pytest
import torch
from torch.nn.functional import conv2d

from benchmarks.features import KINDS, PLACES, every_pair, insert_features, judge
from benchmarks.synthetic import noisy_slices
from raki.coils.combination import root_sum_of_squares
from raki.scan.fourier import to_image

ACCELERATION = 3


@pytest.fixture(scope="module")
def full():
    return torch.from_numpy(next(noisy_slices(1, 6, 96)))


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
        # Where the object is as dark as the noise, the coils don't all see it in phase.
        assert 0.85 < (response * expected).sum() / expected.square().sum() < 1.01, one.kind
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


def _blurred_along_pe(image):
    kernel = torch.tensor([0.25, 0.5, 0.25])[None, None, :, None]
    return conv2d(image[None, None], kernel, padding=(1, 0))[0, 0]
