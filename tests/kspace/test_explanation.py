"""What an image is explained by adds up to it, and each part is what its lines alone make."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from raki.coils import root_sum_of_squares
from raki.kspace import EXPLANATION_PARTS, complete, complete_slices
from raki.kspace.explanation import Explanation, explain
from raki.kspace.frames import MANY_FRAMES
from raki.kspace.grappa import calibrated_grappa
from raki.kspace.raki import climbed
from raki.planning import plans_of, plans_of_planes
from raki.scan.fourier import to_image, to_kspace
from tests.kspace.simulated_slices import acquired, complex_noise, full_slice, undersampled

N = 48
LEANED = [name for name in EXPLANATION_PARTS if name.startswith("leaned")]


@pytest.fixture(scope="module")
def full():
    return full_slice(matrix=N)


def added_up(explanation):
    return sum(getattr(explanation, name) for name in EXPLANATION_PARTS)


def image(kspace):
    return root_sum_of_squares(to_image(kspace))


def assert_adds_up(explanation, filled, within=2e-5):
    torch.testing.assert_close(added_up(explanation), image(filled), rtol=0, atol=within * float(image(filled).max()))


@pytest.mark.parametrize("method", ["raki", "raki_linear", "grappa"])
def test_the_parts_add_up_to_the_image(full, method):
    measured = 1000 * full * acquired(N, 3, 16)[:, None]
    filled, report = complete(measured, method, device="cpu", with_explanation=True)
    (explanation,) = report.explanations
    assert_adds_up(explanation, filled)
    changed = explanation.change_coarse + explanation.change_fine
    assert (float(changed.abs().max()) > 1e-4 * float(image(filled).max())) == (method == "raki")


def test_it_is_told_where_it_is_asked_for_alone(full):
    measured = full * acquired(N, 3, 16)[:, None]
    assert complete(measured, device="cpu")[1].explanations == ()
    assert complete(measured, "zero_filled", device="cpu", with_explanation=True)[1].explanations == ()
    assert complete(full, device="cpu", with_explanation=True)[1].explanations == (), "nothing was filled"


def test_points_of_two_directions_on_a_lattice_and_at_random(full):
    lattice = np.zeros((N, N), bool)
    lattice[::2, ::2] = lattice[16:32, 16:32] = True
    at_random = np.random.default_rng(3).random((N, N)) < 0.4
    at_random[16:32, 16:32] = True
    for points in (lattice, at_random):
        planes, filled = (full * torch.from_numpy(points))[None], {}
        report = complete_slices(
            1, planes.__getitem__, filled.__setitem__, plans=plans_of_planes(points, 1), device="cpu",
            with_explanation=True,
        )  # fmt: skip
        # Steps of conjugate gradients are linear in what they solve for as far as they converge.
        assert_adds_up(report.explanations[0], filled[0], 2e-5 if points is lattice else 1e-3)
        assert report.explanations[0].leaned_2.abs().max() > 0


def test_each_frame_is_explained_by_itself(full):
    """Those that the calibration of the first filled, too."""
    sampled, filled = acquired(N, 2, 16), {}
    frames = torch.stack([full * (1 + 0.05 * number) for number in range(MANY_FRAMES)])
    frames = torch.where(sampled[:, None], frames + 1e-3 * complex_noise(frames.shape), 0)
    report = complete_slices(
        MANY_FRAMES, frames.__getitem__, filled.__setitem__, plans=plans_of(sampled.numpy(), MANY_FRAMES),
        n_frames=MANY_FRAMES, device="cpu", with_explanation=True,
    )  # fmt: skip
    assert any("were filled by what the first frame" in note for note in report.notes)
    for number, explanation in enumerate(report.explanations):
        assert_adds_up(explanation, filled[number])


def test_what_stored_weights_filled_is_explained(full):
    sampled = acquired(N, 3, 16)[:, None]
    _, first = complete(full * sampled, device="cpu", with_weights=True)
    filled, report = complete(
        full * acquired(N, 3, 0)[:, None], device="cpu", stored=first.weights.__getitem__, with_explanation=True
    )
    assert report.stored[0].is_used
    assert_adds_up(report.explanations[0], filled)


@pytest.mark.parametrize("name", LEANED)
def test_a_part_is_what_the_lines_of_its_octave_make(full, name):
    """Other lines may be whatever they are: those beyond the centre alone are looked at."""
    measured = undersampled(full, 3)
    linear = calibrated_grappa(measured.acs, 3)
    filled = linear.filled(measured)
    offset = (torch.arange(N) - N // 2).abs()
    # The edge belongs to the coarser octave: a line of 16 pixels a period is one of 16 and coarser.
    finest = int(name.removeprefix("leaned_"))
    octave = (offset <= N / finest) & ((finest == 16) | (offset > N / finest / 2))
    kept = torch.where(octave[:, None], measured.kspace, 0)
    alone = explain(filled, replace(measured, kspace=kept), linear)
    torch.testing.assert_close(getattr(alone, name), getattr(explain(filled, measured, linear), name))
    for other in LEANED:
        assert other == name or not getattr(alone, other).any()


@pytest.mark.parametrize(
    ("pixels", "name", "other"), [(16, "change_coarse", "change_fine"), (2, "change_fine", "change_coarse")]
)
def test_a_change_is_coarse_or_fine_by_its_own_detail(full, pixels, name, other):
    measured = undersampled(full, 2)
    linear = calibrated_grappa(measured.acs, 2)
    filled = linear.filled(measured)
    wave = torch.cos(2 * torch.pi * torch.arange(N) / pixels)
    brighter = filled + to_kspace(0.01 * wave[:, None] * to_image(filled) / image(filled))
    explanation = explain(brighter, measured, linear)
    changed, least = getattr(explanation, name), getattr(explanation, other)
    assert changed.square().mean() > 20 * least.square().mean()
    bright = image(filled) > 0.2 * image(filled).max()  # elsewhere a magnitude isn't linear in so large a change
    torch.testing.assert_close((changed + least)[bright], (image(brighter) - image(filled))[bright], rtol=0, atol=2e-4)


def test_the_rung_that_filled_it_is_explained_from_its_own_linear_kernel(full):
    measured = undersampled(full, 3, sigma=0.002)
    rung, _ = climbed(measured, seed=0)
    explanation = explain(rung.filled, measured, rung.linear)
    assert_adds_up(explanation, rung.filled)
    linear = image(rung.linear.filled(measured))
    leaned = sum(getattr(explanation, name) for name in LEANED)
    inside = linear > 0.1 * linear.max()
    assert ((leaned / linear)[inside] - 1).abs().quantile(0.98) < 0.02


def test_in_other_units_it_is_the_same(full):
    explanation = explain(full, undersampled(full, 2), calibrated_grappa(full, 2))
    scaled = explanation.scaled(8.0)
    for part in fields(Explanation):
        assert torch.equal(getattr(scaled, part.name), 8 * getattr(explanation, part.name))
