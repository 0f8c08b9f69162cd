"""Several encoding spaces: a reference calibrates where its k-space is the image's; images of two are not mixed."""

from copy import deepcopy

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.scan_reader import sorted_scan
from raki.formats.sorting.encodings import _misfits
from raki.formats.sorting.joining import Joined
from raki.phantom.simulation import scan_header
from tests.formats.sorting.recordings import N, acquisitions, phantom, recorded

CALIBRATION = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
EVERY_SECOND = range(0, N, 2)
N_REFERENCE = 16
BLOCK = slice(N // 2 - N_REFERENCE // 2, N // 2 + N_REFERENCE // 2)


def encoding_of(n_lines=N_REFERENCE, times=1.0):
    """That of a reference of so many lines, over a field of view so many times the image's along them."""
    encoding = deepcopy(scan_header(1, 4, N, 1).encoding[0])
    for space in (encoding.encodedSpace, encoding.reconSpace):
        space.matrixSize.y = n_lines
        space.fieldOfView_mm.y *= times
    limits = encoding.encodingLimits.kspace_encoding_step_1
    limits.maximum, limits.center = n_lines - 1, n_lines // 2
    return encoding


def reference(kspace=None, *, every=1, flags=CALIBRATION, **counters):
    """The middle lines of the phantom, counted from 0; with `every` so many apart, and others between them."""
    block = phantom() if kspace is None else kspace
    block = block[:, :, BLOCK]
    finer = np.full((*block.shape[:2], every * N_REFERENCE, block.shape[3]), 1e-3, np.complex64)
    finer[:, :, ::every] = block
    heads, lines = recorded(finer, range(finer.shape[2]), flags=flags, **counters)
    heads["encoding_space_ref"] = 1
    return heads, lines


def of_two(image, other, encoding):
    """Acquisitions under a header of two encodings."""
    header = scan_header(1, 4, N, 1)
    header.encoding.append(encoding)
    return acquisitions(other, image, header=header)


IMAGE = recorded(phantom(), EVERY_SECOND)


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_reference_in_an_encoding_of_its_own_calibrates(every):
    scan = sorted_scan(of_two(IMAGE, reference(every=every), encoding_of(every * N_REFERENCE, every))).in_memory()
    np.testing.assert_array_equal(scan.acs, phantom()[:, :, BLOCK])
    assert scan.acs_lines is None
    np.testing.assert_array_equal(scan.kspace[:, :, ::2], phantom()[:, :, ::2])
    assert scan.remarks == ("Calibrated on a reference scan that was acquired apart from the image.",)


def turned(heads):
    heads["read_dir"], heads["phase_dir"] = [0, 1, 0], [1, 0, 0]


def of_other_coils(heads):
    heads["active_channels"] = 3


@pytest.mark.parametrize(
    ("encoding", "change", "what"),
    [
        (encoding_of(times=1.5), None, "field of view 440 x 330 and 440 x 220 mm"),
        (encoding_of(times=0.5), None, "field of view 440 x 110 and 440 x 220 mm"),
        (encoding_of(), turned, "turned in its plane"),
        (encoding_of(), of_other_coils, "3 coils and 4"),
    ],
)
def test_a_reference_that_does_not_fit_is_never_used(encoding, change, what):
    heads, lines = reference()
    if change:
        change(heads)
    with pytest.raises(UnsupportedScan, match=f"can't serve the image.*{what}"):
        sorted_scan(of_two(IMAGE, (heads, lines), encoding))
    scan = sorted_scan(of_two(recorded(phantom()), (heads, lines), encoding))
    assert scan.acs is None
    assert what in scan.remarks[0]


def test_the_image_calibrates_itself_where_it_can():
    embedded = recorded(phantom(), range(13, 20, 2), flags=CALIBRATION)
    together = [np.concatenate([a, b]) for a, b in zip(IMAGE, embedded, strict=True)]
    scan = sorted_scan(of_two(tuple(together), reference(2 * phantom()), encoding_of())).in_memory()
    assert scan.acs is None
    np.testing.assert_array_equal(scan.kspace[:, :, 12:21], phantom()[:, :, 12:21])
    assert "the image has its own" in scan.remarks[0]


def test_of_a_reference_with_several_contrasts_one_calibrates():
    first, second = reference(), reference(3 * phantom(), contrast=1)
    both = np.concatenate([first[0], second[0]]), first[1] + second[1]
    scan = sorted_scan(of_two(IMAGE, both, encoding_of())).in_memory()
    np.testing.assert_array_equal(scan.acs, phantom()[:, :, BLOCK])


def test_images_of_two_encodings_are_refused_by_what_differs():
    with pytest.raises(UnsupportedScan, match=r"0 and 1 differ: encoded matrix 64 x 32 x 1 and 64 x 16 x 1"):
        sorted_scan(of_two(IMAGE, reference(flags=()), encoding_of()))
    heads, lines = recorded(phantom(), range(1, N, 2))
    heads["encoding_space_ref"] = 1
    alike = sorted_scan(of_two(IMAGE, (heads, lines), scan_header(1, 4, N, 1).encoding[0])).in_memory()
    np.testing.assert_array_equal(alike.kspace, phantom())


def test_navigators_in_an_encoding_of_their_own_are_no_image():
    heads, lines = recorded(phantom(), [16] * 5)
    heads["encoding_space_ref"] = 1
    scan = sorted_scan(of_two(recorded(phantom()), (heads, lines), encoding_of())).in_memory()
    np.testing.assert_array_equal(scan.kspace, phantom())
    assert scan.remarks == ("5 lines of one place alone, in an encoding of their own, were left out.",)


def test_lines_of_an_encoding_that_nothing_describes_are_damage():
    heads, lines = reference()
    heads["encoding_space_ref"] = 2
    with pytest.raises(DamagedScan, match="encoding space 2, the header describes 2"):
        sorted_scan(of_two(IMAGE, (heads, lines), encoding_of()))


def test_the_dwell_time_that_noise_is_compared_with_is_the_images():
    slow = reference()
    slow[0]["sample_time_us"] = 20.0
    noise = recorded(phantom(noise=1.0), range(4), flags=(ismrmrd.ACQ_IS_NOISE_MEASUREMENT,))
    with_noise = np.concatenate([noise[0], slow[0]]), noise[1] + slow[1]
    assert sorted_scan(of_two(IMAGE, with_noise, encoding_of())).noise_dwell_ratio == 1.0


@pytest.mark.parametrize("times", [1.0, 1.5])
def test_a_calibration_file_keeps_its_own_encoding(times):
    """Fewer lines, counted from 0: taken for lines of the image they would stand beside the centre."""
    header = scan_header(1, 4, N, 1)
    header.encoding = [encoding_of(times=times)]
    heads, lines = reference()
    heads["encoding_space_ref"] = 0
    both = Joined(acquisitions(IMAGE), [acquisitions((heads, lines), header=header)])
    if times != 1.0:
        with pytest.raises(UnsupportedScan, match="can't serve the image"):
            sorted_scan(both)
        return
    np.testing.assert_array_equal(sorted_scan(both).in_memory().acs, phantom()[:, :, BLOCK])


def test_a_reference_is_not_regridded_as_the_echo_trains_of_its_image_are():
    times = {"rampUpTime": 60, "flatTopTime": 200, "rampDownTime": 60, "acqDelayTime": 0, "numSamples": 2 * N}
    header = scan_header(1, 4, N, 1)
    epi = header.encoding[0]
    epi.trajectory = xsd.trajectoryType.EPI
    epi.trajectoryDescription = xsd.trajectoryDescriptionType(
        identifier="ConventionalEPI",
        userParameterLong=[xsd.userParameterLongType(name=name, value=value) for name, value in times.items()],
        userParameterDouble=[xsd.userParameterDoubleType(name="dwellTime", value=5.0)],
    )
    header.encoding.append(encoding_of())
    scan = sorted_scan(acquisitions(reference(), IMAGE, header=header)).in_memory()
    assert np.abs(scan.kspace - phantom())[:, :, ::2].max() > 0
    np.testing.assert_array_equal(scan.acs, phantom()[:, :, BLOCK])


@pytest.mark.parametrize(("thickness_mm", "fits"), [(60.0, True), (30.0, False), (120.0, False)])
def test_a_reference_of_a_slab_is_as_thick_as_the_images(thickness_mm, fits):
    ours, theirs = encoding_of(), encoding_of()
    for encoding, slab_mm in ((ours, 60.0), (theirs, thickness_mm)):
        encoding.encodedSpace.matrixSize.z, encoding.encodedSpace.fieldOfView_mm.z = 12, slab_mm
    heads, _ = reference()
    said = list(_misfits(heads, ours, heads, theirs))
    assert said == ([] if fits else [f"encoded slab {thickness_mm:g} and 60 mm thick"])
