"""Many frames: one calibration a slice serves those that it predicts, and none that it doesn't."""

import gc
import weakref

import numpy as np
import pytest
import torch

from raki.errors import DamagedScan
from raki.kspace import SliceReport, complete, complete_slices
from raki.kspace.frames import MANY_FRAMES, Firsts, about_frames
from raki.phantom import phantom_kspace
from raki.planning import plans_of
from tests.kspace.simulated_slices import acquired, complex_noise

N = 32


@pytest.fixture(scope="module")
def slices() -> torch.Tensor:
    return torch.from_numpy(phantom_kspace(n_slices=2, n_coils=4, matrix=N))


def series(slices, n_frames, *, brightness=None):
    """Frames of the same slices, of noise of their own; axes `frame*slice coil pe ro`."""
    level = 0.02 * float(slices.abs().square().mean().sqrt())
    frames = [
        (brightness or {}).get(number, 1.0) * slices + level * complex_noise(slices.shape, number)
        for number in range(n_frames)
    ]
    return torch.cat(frames)


def fill(kspace, sampled, n_frames, method="grappa", **others):
    result = {}
    masks = sampled.numpy()
    report = complete_slices(
        len(kspace),
        lambda index: torch.where((sampled if sampled.ndim == 1 else sampled[index])[:, None], kspace[index], 0),
        result.__setitem__,
        method,
        plans=plans_of(masks, len(kspace)),
        n_frames=n_frames,
        device="cpu",
        **others,
    )
    return torch.stack([result[index] for index in range(len(kspace))]), report


def error(found, truth):
    return float((found - truth).abs().square().sum() / truth.abs().square().sum())


def notes(report):
    return [note for note in report.notes if "later frames" in note]


@pytest.mark.parametrize(("method", "n_slices"), [("grappa", 2), ("raki", 1)])
def test_later_frames_come_out_as_well_as_by_calibrations_of_their_own(slices, method, n_slices):
    slices = slices[:n_slices]
    frames, sampled = series(slices, MANY_FRAMES), acquired(N, 2, 12)
    together, report = fill(frames, sampled, MANY_FRAMES, method)
    first, _ = fill(frames[:n_slices], sampled, 1, method)
    last, other = fill(frames[-n_slices:], sampled, 1, method)
    assert torch.equal(together[:n_slices], first), "the first frame is filled as ever"
    assert error(together[-n_slices:], frames[-n_slices:]) < 1.05 * error(last, frames[-n_slices:])
    assert not torch.equal(together[-n_slices:], last)
    n_later = n_slices * (MANY_FRAMES - 1)
    assert notes(report)[0].startswith(f"{n_later} of {n_later} images")
    assert not notes(other)
    again, _ = fill(frames, sampled, MANY_FRAMES, method)
    assert torch.equal(again, together), "whichever thread was first"


def test_few_frames_are_calibrated_one_by_one(slices):
    frames, sampled = series(slices[:1], MANY_FRAMES - 1), acquired(N, 2, 12)
    together, report = fill(frames, sampled, MANY_FRAMES - 1)
    alone, _ = fill(frames, sampled, 1)
    assert torch.equal(together, alone)
    assert not notes(report)


def test_a_frame_that_the_first_does_not_predict_is_calibrated_on_its_own(slices):
    frames, sampled = series(slices[:1], MANY_FRAMES), acquired(N, 2, 12)
    frames[3] = frames[3].flip(0)
    together, report = fill(frames, sampled, MANY_FRAMES)
    alone, _ = fill(frames, sampled, 1)
    assert torch.equal(together[3], alone[3])
    n_later = MANY_FRAMES - 1
    assert notes(report)[0].startswith(f"{n_later - 1} of {n_later} images")
    assert "1 in which it erred more" in notes(report)[0]


def test_a_first_frame_without_signal_calibrates_no_other(slices):
    """Dummy scans are nothing but noise, which predicts nothing, and what predicts nothing must not fill the rest."""
    frames, sampled = series(slices[:1], MANY_FRAMES, brightness={0: 0.0}), acquired(N, 2, 12)
    together, report = fill(frames, sampled, MANY_FRAMES)
    alone, _ = fill(frames[-1:], sampled, 1)
    assert torch.equal(together[-1:], alone)
    assert not notes(report)


def test_a_first_frame_of_noise_serves_not_even_others_of_noise(slices):
    frames = series(slices[:1], MANY_FRAMES, brightness=dict.fromkeys(range(MANY_FRAMES), 0.0))
    _, report = fill(frames, acquired(N, 2, 12), MANY_FRAMES)
    assert not notes(report)


def test_frames_about_as_bright_are_predicted_and_others_calibrated_on_their_own(slices):
    """In a much darker frame, as of b = 1000 after b = 0, other detail stands out of the noise."""
    brightness = {2: 0.8, 3: 0.3, 4: 1.3, 5: 3.0}
    frames, sampled = series(slices[:1], MANY_FRAMES, brightness=brightness), acquired(N, 2, 12)
    together, report = fill(frames, sampled, MANY_FRAMES)
    assert notes(report)[0].startswith(f"{MANY_FRAMES - 3} of {MANY_FRAMES - 1} images")
    alone, _ = fill(frames, sampled, 1)
    for number in range(MANY_FRAMES):
        assert torch.equal(together[number], alone[number]) == (number in (0, 3, 5))


def test_frames_that_sample_other_lines_in_turn_are_filled_by_the_same_kernel(slices):
    frames = series(slices[:1], MANY_FRAMES)
    sampled = acquired(N, 2, 12).repeat(MANY_FRAMES, 1)
    sampled[1::2] = acquired(N, 2, 12, offset=1)
    together, report = fill(frames, sampled, MANY_FRAMES)
    alone, _ = fill(frames, sampled, 1)
    assert notes(report)[0].startswith(f"{MANY_FRAMES - 1} of {MANY_FRAMES - 1} images")
    assert error(together[5], frames[5]) < 1.1 * error(alone[5], frames[5])


def test_a_broken_first_frame_ends_the_scan_and_nobody_waits_for_it(slices):
    frames, sampled = series(slices, MANY_FRAMES), acquired(N, 2, 12)
    frames[0, 0, 0, 0] = torch.nan
    with pytest.raises(DamagedScan):
        fill(frames, sampled, MANY_FRAMES)


def test_the_library_call_knows_of_no_frames(slices):
    frames, sampled = series(slices[:1], MANY_FRAMES), acquired(N, 2, 12)
    _, report = complete(torch.where(sampled[:, None], frames, 0), "grappa", sampled=sampled, device="cpu")
    assert not notes(report)


def test_every_frame_has_maps(slices):
    frames, sampled = series(slices[:1], MANY_FRAMES), acquired(N, 2, 12)
    _, report = fill(frames, sampled, MANY_FRAMES, "raki_linear", with_maps=True)
    assert len(report.maps) == MANY_FRAMES
    assert torch.equal(report.maps[0].g_factor, report.maps[-1].g_factor)


def test_a_calibration_is_let_go_when_the_last_has_asked():
    class Kept:
        def fill(self, *_arguments):
            return None

    firsts, kept = Firsts(2), Kept()
    firsts.keep(7, kept)
    firsts.keep(7, None)
    assert firsts.of(7) is kept
    assert firsts.of(7) is kept
    gone = weakref.ref(kept)
    del kept
    gc.collect()
    assert gone() is None


def test_nothing_is_said_where_nothing_was_used_again():
    assert not list(about_frames([SliceReport()] * 4, 2))
    assert np.size(list(about_frames([SliceReport(), SliceReport(is_reused=True)], 1))) == 1
