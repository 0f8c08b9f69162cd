"""EPI: what was recorded back and forth comes out as k-space of any other scan."""

from itertools import product
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats import open_scan
from raki.formats.acquisitions import HEAD
from raki.formats.epi.ghost import ghost_level
from raki.formats.epi.own_phase import on_the_side_of
from raki.formats.epi.trains import straightened
from raki.formats.scan_reader import sorted_scan
from raki.phantom.phantom import phantom_kspace
from raki.phantom.simulation import scan_header
from raki.prepare.preparation import preprocess
from raki.scan.header import parse_header
from raki.scan.nyquist import NyquistPhase

N_SLICES, N_COILS, MATRIX = 2, 3, 32
SLOPE, OFFSET = 0.11, 0.7
REVERSE, PHASE_CORRECTION = (np.uint64(1 << (flag - 1)) for flag in (22, 24))


class InMemory:
    """Acquisitions that never were in a file."""

    def __init__(self, header_xml, heads, samples):
        self.header_xml, self.heads, self._samples = header_xml, heads, samples

    def samples(self, wanted):
        return (self._samples[index] for index in wanted)


def along_readout(lines, phase):
    profiles = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(lines, axes=-1)), axes=-1) * np.exp(1j * phase)
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(profiles, axes=-1)), axes=-1).astype(np.complex64)


def epi(*, with_navigators=True, repetitions=1, offsets=(OFFSET, -OFFSET), step=1, averages=1, bend=0.0):
    """A phantom recorded back and forth, each slice with its own delay between the two; and the truth.

    Every second average begins with a reversed line. `bend` is a phase quadratic along the readout.
    """
    truth = phantom_kspace(N_SLICES, N_COILS, MATRIX, 1, readout_oversampling=2)
    pixels = np.arange(2 * MATRIX) - MATRIX
    heads, samples = [], []

    def record(line, kspace, slice_index, repetition, *, turned, flags=0, average=0):
        head = np.zeros(1, HEAD)
        head["number_of_samples"], head["active_channels"], head["center_sample"] = 2 * MATRIX, N_COILS, MATRIX
        head["idx"]["kspace_encode_step_1"], head["idx"]["slice"] = line, slice_index
        head["idx"]["repetition"], head["position"] = repetition, (0, 0, 10 * slice_index)
        head["idx"]["average"] = average
        head["read_dir"], head["phase_dir"], head["slice_dir"] = np.eye(3)
        head["flags"] = flags | (REVERSE if turned else np.uint64(0))
        half = (SLOPE * pixels + offsets[slice_index] + bend * pixels**2) / 2
        shifted = along_readout(kspace, -half if turned else half)
        heads.append(head)
        samples.append(np.ascontiguousarray(shifted[:, ::-1] if turned else shifted))

    for repetition in range(repetitions):
        for slice_index in range(N_SLICES):
            centre = truth[slice_index, :, MATRIX // 2]
            for n in range(3 * with_navigators):
                record(0, centre, slice_index, repetition, turned=n % 2 == 1, flags=PHASE_CORRECTION)
            for average, (number, line) in product(range(averages), enumerate(range(0, MATRIX, step))):
                turned = (number + average) % 2 == 1
                record(line, truth[slice_index, :, line], slice_index, repetition, turned=turned, average=average)
    header = scan_header(N_SLICES, N_COILS, MATRIX, 1)
    header.encoding[0].trajectory = xsd.trajectoryType.EPI
    return InMemory(xsd.ToXML(header), np.concatenate(heads), samples), truth


def test_reversed_lines_are_flipped_and_their_delay_is_removed():
    recorded, truth = epi()
    scan = sorted_scan(recorded).in_memory()
    assert np.linalg.norm(scan.kspace - truth) < 0.02 * np.linalg.norm(truth)


def test_lines_recorded_in_both_directions_have_no_ghost_where_a_linear_phase_leaves_one():
    """Their mean has none, however the phase between the directions runs along the readout."""

    def off(**recorded):
        found, truth = epi(with_navigators=False, bend=1.5e-3, **recorded)
        kspace = sorted_scan(found).in_memory().kspace
        scale = np.vdot(truth, kspace) / np.vdot(truth, truth)
        return np.linalg.norm(kspace - scale * truth) / np.linalg.norm(scale * truth)

    assert off(averages=2) < 0.2 * off()


def test_each_repetition_is_corrected_by_its_own_navigators_and_they_are_no_lines_of_the_image():
    recorded, truth = epi(repetitions=2)
    scan = sorted_scan(recorded).in_memory()
    assert len(scan.frames) == 2
    assert np.linalg.norm(scan.kspace[N_SLICES:] - truth) < 0.02 * np.linalg.norm(truth)


def test_a_train_without_navigators_takes_those_of_its_slice():
    recorded, truth = epi(repetitions=2)
    later = (recorded.heads["idx"]["repetition"] == 1) & (recorded.heads["flags"] & PHASE_CORRECTION != 0)
    kept = np.flatnonzero(~later)
    fewer = InMemory(recorded.header_xml, recorded.heads[kept], [recorded._samples[index] for index in kept])
    scan = sorted_scan(fewer).in_memory()
    assert np.linalg.norm(scan.kspace[N_SLICES:] - truth) < 0.02 * np.linalg.norm(truth)


def test_without_navigators_each_image_is_corrected_by_its_own_lines_and_the_scan_says_so():
    recorded, truth = epi(with_navigators=False)
    scan = sorted_scan(recorded).in_memory()
    assert np.linalg.norm(scan.kspace - truth) < 0.05 * np.linalg.norm(truth)
    (said,) = (remark for remark in scan.remarks if "no navigators" in remark)
    before, after = (float(part.split()[-1]) for part in said.split(" %")[:2])
    assert before > 5 * after


def test_undersampled_trains_without_navigators_are_refused():
    recorded, _ = epi(with_navigators=False, step=2)
    with pytest.raises(UnsupportedScan, match="several steps apart, and no navigators"):
        sorted_scan(recorded)


def test_images_without_navigators_are_not_moved_by_half_the_field_of_view_against_each_other():
    """Of the phases that move an image by half the field of view, the one next to the brightest image's."""
    common = NyquistPhase(slope_rad_per_pixel=0.1, offset_rad=0.3)
    for offset, expected in ((1.2, 1.2), (3.0, 3.0 - np.pi), (-2.5, -2.5 + np.pi), (-0.9, -0.9)):
        phase = on_the_side_of(NyquistPhase(slope_rad_per_pixel=0.2, offset_rad=offset), common)
        assert np.exp(1j * phase.offset_rad) == pytest.approx(np.exp(1j * expected))
        assert phase.slope_rad_per_pixel == 0.2


def test_a_scan_of_forward_lines_stays_as_it_is():
    recorded, truth = epi()
    heads = recorded.heads[recorded.heads["flags"] & PHASE_CORRECTION == 0]
    heads["flags"] = 0
    forward = InMemory(recorded.header_xml, heads, list(truth.swapaxes(1, 2).reshape(-1, N_COILS, 2 * MATRIX)))
    encoding = parse_header(forward.header_xml).encoding[0]
    assert straightened(forward, encoding) == (forward, ())


def test_lines_of_one_train_that_differ_in_length_are_named():
    recorded, _ = epi()
    recorded._samples[-1] = recorded._samples[-1][:, :-2]
    with pytest.raises(DamagedScan, match="different numbers of coils or samples"):
        sorted_scan(recorded).in_memory()


def test_noise_is_left_as_it_was_recorded():
    recorded, _ = epi()
    recorded.heads["flags"][0] = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)
    encoding = parse_header(recorded.header_xml).encoding[0]
    (noise,) = straightened(recorded, encoding)[0].samples(np.array([0]))
    np.testing.assert_array_equal(noise, recorded._samples[0])


def test_a_measured_epi_scan_loses_its_ghost(real_scans: Path):
    """Measured: 0.131 with lines flipped and regridded alone, 0.075 with the navigators' correction."""
    with open_scan([real_scans / "vendor/twixtools_epi_2ch_phasecor.dat"]) as scan:
        (kspace,) = preprocess(scan).in_memory().kspace
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(-2, -1))), axes=(-2, -1))
    assert ghost_level(np.sqrt((np.abs(images) ** 2).sum(axis=0))) < 0.1
