"""Several measurements in one file: joined where they are parts of one scan, else refused by what differs."""

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from raki.errors import NoiseAlone, UnsupportedScan
from raki.formats.scan_reader import sorted_scan
from raki.formats.sorting.measurements import as_one
from raki.phantom.simulation import scan_header
from raki.scan.header import parse_header
from tests.formats.sorting.recordings import ALL, N, acquisitions, phantom, recorded

NOISE = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
CALIBRATION = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
LABELS = ["A", "B", "C", "D"]


def measurement(kspace, lines=ALL, *, moved_mm=0.0, labels=LABELS, change=None, **recording):
    heads, samples = recorded(kspace, lines, **recording)
    heads["position"][:, 2] += moved_mm
    header = scan_header(len(kspace), kspace.shape[1], N, 1)
    header.acquisitionSystemInformation.coilLabel = [
        xsd.coilLabelType(coilNumber=number, coilName=name) for number, name in enumerate(labels)
    ]
    if change:
        change(header)
    return acquisitions((heads, samples), header=header)


def read(**parts):
    return sorted_scan(as_one(parts)).in_memory()


def test_noise_and_calibration_beside_an_image_are_what_they_are():
    noise = phantom(noise=1.0)[:, ::-1]
    scan = read(
        a=measurement(noise, flags=NOISE, labels=LABELS[::-1]),
        b=measurement(phantom(), range(0, N, 2)),
        c=measurement(3 * phantom(), range(10, 22), flags=CALIBRATION),
    )
    np.testing.assert_array_equal(scan.kspace[:, :, ::2], phantom()[:, :, ::2])
    np.testing.assert_array_equal(scan.acs, 3 * phantom()[:, :, 10:22])
    np.testing.assert_array_equal(scan.noise, np.concatenate([*phantom(noise=1.0).swapaxes(1, 2)[0]], axis=1))


@pytest.mark.parametrize("n", [2, 3])
def test_measurements_of_the_same_slices_are_repetitions_and_never_averaged(n):
    scan = read(**{f"m{number}": measurement((number + 1) * phantom(2)) for number in range(n)})
    np.testing.assert_array_equal(scan.kspace, np.concatenate([(number + 1) * phantom(2) for number in range(n)]))
    assert [frame.repetition for frame in scan.frames] == list(range(n))
    assert scan.remarks == (f"The file holds {n} measurements of one set-up: they are shown as repetitions.",)


def test_measurements_of_other_slices_are_one_scan_in_the_order_of_space():
    scan = read(a=measurement(phantom(2), moved_mm=10.0), b=measurement(2 * phantom(2)))
    np.testing.assert_array_equal(scan.kspace, np.concatenate([2 * phantom(2), phantom(2)]))
    assert (scan.n_slices, len(scan.frames), scan.geometry.slice_spacing_mm) == (4, 1, 5.0)
    assert "each of other slices" in scan.remarks[0]


def other_matrix(header):
    header.encoding[0].encodedSpace.matrixSize.y = 48


def other_field_of_view(header):
    header.encoding[0].reconSpace.fieldOfView_mm.y = header.encoding[0].encodedSpace.fieldOfView_mm.y = 200.0


def other_patient(header):
    header.subjectInformation = xsd.subjectInformationType(patientID="4711")


def other_protocol(header):
    header.measurementInformation.protocolName = "localizer"


def other_timing(header):
    header.sequenceParameters.TR = [17.0]


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"change": other_matrix}, "encoded matrix 64 x 32 x 1 and 64 x 48 x 1"),
        ({"change": other_field_of_view}, "shown field of view 220 x 220 x 4 and 220 x 200 x 4 mm"),
        ({"change": other_patient}, "differ: patient;"),
        ({"change": other_protocol}, "differ: protocol;"),
        ({"change": other_timing}, "timing of the sequence"),
        ({"labels": [*"ABCX"]}, "labels of the coils"),
        ({"moved_mm": 5.0}, "share some of their slices and not all"),
        ({"moved_mm": 1.0}, "share some of their slices and not all"),
    ],
)
def test_measurements_of_which_each_is_a_scan_are_refused_by_what_differs(other, what):
    parts = {"first": measurement(phantom(2)), "second": measurement(phantom(2), **other)}
    with pytest.raises(UnsupportedScan, match=f"'first' and 'second' are no parts of one scan.*{what}") as refusal:
        as_one(parts)
    assert "4711" not in str(refusal.value)


def test_coils_and_bandwidths_that_differ_are_named():
    slow = measurement(phantom())
    slow.heads["sample_time_us"] = 2.5
    fewer = measurement(phantom(n_coils=3), labels=LABELS[:3])
    for other, what in ((slow, "5 and 2.5 µs a sample"), (fewer, "4 and 3 coils")):
        with pytest.raises(UnsupportedScan, match=what):
            as_one({"a": measurement(phantom()), "b": other})


def test_what_holds_nothing_of_an_image_does_not_count():
    empty = measurement(phantom(), [])
    navigators = measurement(phantom(), range(3), flags=(ismrmrd.ACQ_IS_NAVIGATION_DATA,))
    image = measurement(phantom())
    assert as_one({"a": empty, "b": image, "c": navigators}) is image
    noise = measurement(phantom(), flags=NOISE)
    with pytest.raises(NoiseAlone, match="noise and calibration lines only"):
        as_one({"a": noise, "b": measurement(phantom(), flags=CALIBRATION)})


def test_a_noise_scan_by_itself_is_called_that_and_its_sentence_says_how_to_join_it():
    says = r"noise scan \(32 noise lines\).*raki reconstruct image.h5 noise.h5.*one archive"
    with pytest.raises(NoiseAlone, match=says):
        sorted_scan(measurement(phantom(), flags=NOISE))


def test_names_of_measurements_are_shortened_and_plain():
    names = "x\x1b[2J" * 500, "y" * 5000
    with pytest.raises(UnsupportedScan) as refusal:
        as_one(dict(zip(names, (measurement(phantom()), measurement(phantom(), change=other_matrix)), strict=True)))
    assert len(str(refusal.value)) < 500
    assert "encoded matrix 64 x 32 x 1 and 64 x 48 x 1" in str(refusal.value)
    assert "\x1b" not in str(refusal.value)


def test_one_header_describes_what_was_joined():
    apart = as_one({"a": measurement(phantom(), range(0, N, 2)), "b": measurement(phantom(), flags=CALIBRATION)})
    assert len(parse_header(apart.header_xml).encoding) == 2
    assert set(apart.heads["encoding_space_ref"]) == {0, 1}
