"""A scan says how many frames of what kind it has, and each is called by what tells it from the others."""

from itertools import product

import pytest

from raki.scan import Frame, frame_labels, frames_in_words, slices_of_a_frame

ECHOES = tuple(Frame(contrast=contrast) for contrast in range(3))
EVERY_ECHO_OFTEN = tuple(Frame(contrast=one, repetition=two) for one, two in product(range(2), range(10)))


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (ECHOES, "3 contrasts"),
        (tuple(Frame(repetition=n) for n in (0, 4)), "2 repetitions"),
        (EVERY_ECHO_OFTEN, "2 contrasts, 10 repetitions"),
        (EVERY_ECHO_OFTEN[:13], "13 frames: 2 contrasts, 10 repetitions"),
        ((Frame(phase=2),), ""),
    ],
)
def test_it_is_said_how_many_frames_of_what_kind_there_are(frames, words):
    assert frames_in_words(frames) == words


def test_a_frame_is_called_by_what_tells_it_from_the_others():
    assert frame_labels(ECHOES) == ["contrast 1", "contrast 2", "contrast 3"]
    assert frame_labels((Frame(set=1, phase=2), Frame(set=1, phase=5))) == ["phase 3", "phase 6"]
    assert frame_labels(EVERY_ECHO_OFTEN)[12] == "contrast 2, repetition 3"
    assert len(set(frame_labels(EVERY_ECHO_OFTEN))) == len(EVERY_ECHO_OFTEN)
    assert frame_labels((Frame(repetition=7),)) == [""]


def test_images_that_frames_cannot_share_are_refused():
    assert slices_of_a_frame(12, ECHOES) == 4
    with pytest.raises(ValueError, match="7 images don't make 3 frames"):
        slices_of_a_frame(7, ECHOES)
