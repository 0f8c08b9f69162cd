"""Echoes recorded backwards and not marked so: seen from the images, and said."""

import numpy as np
import pytest

from raki.images import reconstruct
from raki.images.mirrored import about_mirrored
from raki.prepare.preparation import preprocess
from raki.scan import Frame
from tests.formats.sorting.recordings import phantom, read, recorded


def echoes(*kspaces):
    return preprocess(read(*(recorded(kspace, contrast=n) for n, kspace in enumerate(kspaces))))


def backwards(kspace):
    """As the readout the other way records it, the centre where it was."""
    return np.roll(kspace[..., ::-1], 1, axis=-1)


def test_an_echo_that_was_recorded_backwards_is_named():
    first, second = phantom(2, noise=0.02), phantom(2, noise=0.02, seed=1)
    found = reconstruct(echoes(first, backwards(second)), method="zero_filled")
    assert "Contrast 1 is the mirror image of contrast 0 along the readout" in found.notes[0]
    found = reconstruct(echoes(first, second, backwards(second)), method="zero_filled")
    assert "Contrast 2 is" in found.notes[0]


def test_nothing_is_said_of_echoes_as_they_should_be_or_of_an_object_that_tells_nothing():
    first, second = phantom(2, noise=0.02), 0.5 * phantom(2, noise=0.02, seed=1)
    assert "mirror" not in " ".join(reconstruct(echoes(first, second), method="zero_filled").notes)
    frames = Frame(), Frame(contrast=1)
    even = np.ones((2, 8, 8), np.float32)
    assert list(about_mirrored(even, frames)) == []
    even[:, 2:6, 3:6] = 5
    assert list(about_mirrored(even, frames)) == []
    noise = np.random.default_rng(0).rayleigh(size=(2, 16, 16)).astype(np.float32)
    assert list(about_mirrored(noise, frames)) == []


@pytest.mark.parametrize("counter", ["repetition", "phase", "set"])
def test_other_frames_are_not_compared(counter):
    image = np.random.default_rng(0).rayleigh(size=(1, 16, 17)).astype(np.float32)
    both = np.concatenate([image, image[..., ::-1]])
    assert list(about_mirrored(both, (Frame(), Frame(**{counter: 1})))) == []
    assert len(list(about_mirrored(both, (Frame(), Frame(contrast=1))))) == 1
