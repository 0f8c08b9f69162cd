"""Which coil is which: noise and calibration scans beside an image go by labels, and dead coils take no part."""

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from raki.errors import DamagedScan
from raki.formats.scan_reader import sorted_scan
from raki.formats.sorting.joining import Joined
from raki.phantom.simulation import scan_header
from tests.formats.sorting.recordings import N, acquisitions, phantom, recorded

NOISE = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
CALIBRATION = (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,)
LABELS = ["H1", "H2", "N1", "N2"]
LOUD = np.array([1, 2, 4, 8], np.float32)[:, None, None]


def noise_of(labels, n_coils=4):
    """Noise, louder from coil to coil of `LABELS`, in the order of these labels."""
    random = np.random.default_rng(0)
    level = LOUD if labels is None or not set(labels) <= set(LABELS) else LOUD[[LABELS.index(name) for name in labels]]
    noise = random.standard_normal((1, n_coils, N, 2 * N)) * level[:n_coils] * (1 + 1j)
    return scan_of(noise.astype(np.complex64), labels, flags=NOISE, study="noise")


def scan_of(kspace, labels, lines=range(N), *, flags=(), study="image"):
    header = scan_header(1, kspace.shape[1], N, 1)
    header.measurementInformation.protocolName = study
    header.acquisitionSystemInformation.coilLabel = [
        xsd.coilLabelType(coilNumber=number, coilName=name) for number, name in enumerate(labels or ())
    ]
    return acquisitions(recorded(kspace, lines, flags=flags), header=header)


def levels(scan):
    return np.round(scan.noise.std(axis=1) / np.sqrt(2))


@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1], ["N1", "H1", "N2", "H2"]])
def test_noise_goes_by_the_labels_of_the_coils(labels):
    scan = sorted_scan(Joined(scan_of(phantom(), LABELS), [noise_of(labels)]))
    assert levels(scan).tolist() == [1, 2, 4, 8]
    assert scan.remarks == ()


def test_an_image_of_some_of_the_coils_takes_their_noise():
    scan = sorted_scan(Joined(scan_of(phantom()[:, :2], ["N2", "H1"]), [noise_of(LABELS)]))
    assert levels(scan).tolist() == [8, 1]


@pytest.mark.parametrize(
    ("labels", "why"),
    [(["A", "B", "C", "D"], "not all among"), (None, "no labels"), (["H1", "H1", "N1", "N2"], "no labels")],
)
def test_noise_of_other_coils_is_not_used_and_that_is_said(labels, why):
    scan = sorted_scan(Joined(scan_of(phantom(), LABELS), [noise_of(labels)]))
    assert scan.noise is None
    assert scan.remarks[0].startswith("The noise scan was not used")
    assert why in scan.remarks[0]


def test_calibration_goes_by_the_labels_too():
    image = scan_of(phantom(), LABELS, range(0, N, 2))
    calibration = scan_of(phantom()[:, ::-1], LABELS[::-1], range(10, 22), flags=CALIBRATION, study="acs")
    np.testing.assert_array_equal(sorted_scan(Joined(image, [calibration])).in_memory().acs, phantom()[:, :, 10:22])
    other = scan_of(phantom(), ["A", "B", "C", "D"], range(10, 22), flags=CALIBRATION, study="acs")
    with pytest.raises(DamagedScan, match="other coils"):
        Joined(image, [other])


@pytest.mark.parametrize("where", ["image", "noise", "both"])
def test_a_dead_coil_takes_no_part(where):
    kspace, noise = phantom(), noise_of(LABELS)
    if where != "noise":
        kspace[:, 2] = 0
    if where != "image":
        for line in noise.lines:
            line[2] = 0
    scan = sorted_scan(Joined(scan_of(kspace, LABELS), [noise])).in_memory()
    np.testing.assert_array_equal(scan.kspace, phantom()[:, [0, 1, 3]])
    assert levels(scan).tolist() == [1, 2, 8]
    assert scan.remarks[0].startswith("Coil 2 of 0 to 3 recorded nothing but zeros")


def test_a_noise_scan_of_another_number_of_coils_is_not_used():
    together = acquisitions(recorded(phantom()), recorded(phantom()[:, :2], range(4), flags=NOISE))
    scan = sorted_scan(together)
    assert scan.noise is None
    assert "recorded with 2 coils, the image with 4" in scan.remarks[0]


def test_a_measurement_that_breaks_off_does_so_beside_its_noise_too():
    image = scan_of(phantom(), LABELS, range(20))
    image.cut_from = 1
    refusals = []
    for acquired in (image, Joined(image, [noise_of(LABELS)])):
        with pytest.raises(DamagedScan) as refusal:
            sorted_scan(acquired)
        refusals.append(str(refusal.value))
    assert refusals[0] == refusals[1]
