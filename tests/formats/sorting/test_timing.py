"""The time from one frame to the next: by the scanner's clock, or unknown."""

import ismrmrd
import numpy as np
import pytest

from raki.formats.sorting.timing import frame_step
from raki.phantom.simulation import scan_header
from raki.scan import Frame

N_LINES, N_FRAMES = 4, 5
A_DAY = round(86_400 / 2.5e-3)


def series(starts, *, counter="repetition"):
    """Heads of lines at 10 ms each, the frames beginning at these ticks of 2.5 ms."""
    heads = np.zeros(N_LINES * len(starts), ismrmrd.hdf5.acquisition_header_dtype)
    for number, start in enumerate(starts):
        of_frame = slice(number * N_LINES, (number + 1) * N_LINES)
        heads["acquisition_time_stamp"][of_frame] = (start + 4 * np.arange(N_LINES)) % A_DAY
        heads["idx"][counter][of_frame] = number
    frames = tuple(Frame(**{counter: number}) for number in range(len(starts)))
    return heads, np.ones(len(heads), bool), frames


def header(vendor="SIEMENS"):
    made = scan_header(1, 4, 32, 1)
    made.acquisitionSystemInformation.systemVendor = vendor
    return made


@pytest.mark.parametrize("first", [0, 1000, A_DAY - 1500])
def test_repetitions_follow_each_other_by_the_scanners_clock(first):
    """Over midnight too, and with a tick of jitter."""
    starts = first + 800 * np.arange(N_FRAMES) + [0, 1, 0, 1, 0]
    step_s, said = frame_step(*series(starts), header())
    assert step_s == pytest.approx(2.0, abs=0.002)
    assert said == ()


@pytest.mark.parametrize(
    ("counter", "vendor", "starts"),
    [
        ("contrast", "SIEMENS", 800 * np.arange(N_FRAMES)),
        ("phase", "SIEMENS", 800 * np.arange(N_FRAMES)),
        ("repetition", "GE", 800 * np.arange(N_FRAMES)),
        ("repetition", "SIEMENS", np.zeros(N_FRAMES, int)),
        ("repetition", "SIEMENS", 800 * np.arange(N_FRAMES)[::-1]),
        ("repetition", "SIEMENS", [5]),
    ],
)
def test_where_nothing_tells_nothing_is_said(counter, vendor, starts):
    assert frame_step(*series(starts, counter=counter), header(vendor)) == (None, ())


def test_an_uneven_series_has_no_step_and_a_sentence():
    step_s, (said,) = frame_step(*series([0, 800, 1600, 2800]), header())
    assert step_s is None
    assert "2 to 3 s from one to the next" in said


def test_frames_that_were_left_out_are_no_gap_in_the_others():
    heads, is_image, frames = series(800 * np.arange(N_FRAMES))
    assert frame_step(heads, is_image, frames[:-2], header())[0] == pytest.approx(2.0)
