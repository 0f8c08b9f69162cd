"""3-D scans: sorted into planes of both phase-encode directions, or refused in a sentence."""

import numpy as np
import pytest
from ismrmrd import xsd

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.scan_reader import sorted_scan
from raki.formats.volume_reader import _PlaneReader
from raki.phantom.volume import sampled_points, volume_kspace
from raki.scan import to_lines, to_profiles
from tests.formats.sorting.recordings import InMemory
from tests.formats.sorting.volumes import BOTH, CALIBRATION, COILS, NAVIGATOR, PARTITIONS, REVERSE, SLABS, N, changed


def planes_of(kspace):
    """`pe2 coil pe ro` as planes `x coil pe pe2`, the readout oversampling cut off."""
    profiles = to_profiles(kspace)[..., N // 2 : N // 2 + N]
    return profiles.transpose(3, 1, 2, 0)


def test_each_point_is_in_its_place_and_nothing_else_is_there(simulated):
    scan = sorted_scan(simulated(acceleration=(2, 2), shift=1, n_acs=8)).in_memory()
    acquired, _ = sampled_points((N, PARTITIONS), (2, 2), 1, 8)
    truth = planes_of(volume_kspace(PARTITIONS, 2.0, COILS, N, 0))
    assert scan.kspace.shape == (N, COILS, N, PARTITIONS)
    np.testing.assert_array_equal(scan.sampled, acquired)
    np.testing.assert_allclose(scan.kspace[..., acquired], truth[..., acquired], atol=1e-4 * abs(truth).max())
    assert not scan.kspace[..., ~acquired].any()
    assert scan.readout_oversampling == 1.0


def test_planes_are_the_same_however_few_are_read_at_once(simulated, monkeypatch):
    whole = sorted_scan(simulated(acceleration=(2, 2), n_acs=8)).in_memory().kspace
    n_points = int(sampled_points((N, PARTITIONS), (2, 2), 0, 8)[0].sum())
    monkeypatch.setattr("raki.formats.volume_reader.BLOCK_BYTES", 5 * 8 * COILS * n_points)
    reads = []
    read = _PlaneReader._read_block
    monkeypatch.setattr(_PlaneReader, "_read_block", lambda self, *at: reads.append(at) or read(self, *at))
    in_blocks = sorted_scan(simulated(acceleration=(2, 2), n_acs=8)).in_memory().kspace
    np.testing.assert_array_equal(in_blocks, whole)
    assert len(reads) == -(-N // 5)


def test_slices_lie_about_the_middle_of_the_slab(simulated):
    scan = sorted_scan(simulated(n_slices=10))
    assert scan.n_slices == 10
    assert (scan.slab.n_slices, scan.slab.n_encoded) == (10, 12)
    assert scan.geometry.slice_spacing_mm == pytest.approx(2.0)
    assert scan.geometry.position_mm == pytest.approx((0.0, 0.0, 16.0 - 5 * 2.0))


def test_averages_are_averaged_at_the_noise_of_one(simulated):
    once = simulated(acceleration=(1, 1))
    twice = InMemory(once.header_xml, np.concatenate([once.heads, once.heads]), once.lines * 2)
    twice.heads["idx"]["average"][len(once.heads) :] = 1
    np.testing.assert_allclose(
        sorted_scan(twice).in_memory().kspace, np.sqrt(2) * sorted_scan(once).in_memory().kspace, rtol=1e-4, atol=1e-6
    )


def test_recordings_that_differ_are_no_averages(simulated):
    once = simulated(acceleration=(1, 1))
    twice = InMemory(once.header_xml, np.concatenate([once.heads] * 2), [*once.lines, *(1j * x for x in once.lines)])
    with pytest.raises(DamagedScan, match="recorded several times"):
        sorted_scan(twice)


def test_frames_come_one_after_the_other_and_a_stopped_one_is_left_out(simulated):
    first = simulated(acceleration=(2, 1), n_acs=8)
    heads = np.concatenate([first.heads, first.heads, first.heads[:20]])
    heads["idx"]["repetition"][len(first.heads) :] = 1
    heads["idx"]["repetition"][2 * len(first.heads) :] = 2
    lines = [*first.lines, *(2 * line for line in first.lines), *first.lines[:20]]
    scan = sorted_scan(InMemory(first.header_xml, heads, lines)).in_memory()
    assert len(scan.frames) == 2
    np.testing.assert_allclose(scan.kspace[N:], 2 * scan.kspace[:N], rtol=1e-5)
    assert "the scan was stopped" in " ".join(scan.remarks)


def test_frames_of_other_points_keep_their_own(simulated):
    first, other = simulated(acceleration=(2, 1), n_acs=8), simulated(acceleration=(1, 2), n_acs=8)
    heads = np.concatenate([first.heads, other.heads, first.heads])
    heads["idx"]["repetition"] = np.repeat([0, 1, 2], [len(first.heads), len(other.heads), len(first.heads)])
    scan = sorted_scan(InMemory(first.header_xml, heads, [*first.lines, *other.lines, *first.lines])).in_memory()
    masks = scan.sampled_by_frame
    alone = [sorted_scan(each).in_memory() for each in (first, other)]
    assert (masks == [alone[0].sampled, alone[1].sampled, alone[0].sampled]).all()
    np.testing.assert_array_equal(scan.sampled, masks.any(axis=0))
    for frame, (mask, same) in enumerate(zip(masks, [alone[0], alone[1], alone[0]], strict=True)):
        planes = scan.kspace[frame * N : (frame + 1) * N]
        np.testing.assert_array_equal(planes[..., mask], same.kspace[..., mask])
        assert not planes[..., ~mask].any()
        np.testing.assert_array_equal(scan.lines_of(frame * N), mask)
    assert "none is shared between them" in " ".join(scan.remarks)


def test_a_last_frame_at_random_that_was_stopped_is_left_out(simulated):
    parts = [simulated(acceleration=(2, 2), n_acs=8, at_random=True, seed=number) for number in range(3)]
    lengths = [len(parts[0].heads), len(parts[1].heads), 30]
    heads = np.concatenate([part.heads[:n] for part, n in zip(parts, lengths, strict=True)])
    heads["idx"]["repetition"] = np.repeat([0, 1, 2], lengths)
    lines = [line for part, n in zip(parts, lengths, strict=True) for line in part.lines[:n]]
    scan = sorted_scan(InMemory(parts[0].header_xml, heads, lines))
    assert len(scan.frames) == len(scan.sampled_by_frame) == 2
    assert "the scan was stopped" in " ".join(scan.remarks)


def test_a_calibration_scan_with_holes_is_refused(simulated):
    image, reference = simulated(acceleration=(2, 2), n_acs=0), simulated(acceleration=(1, 2))
    theirs = reference.heads.copy()
    theirs["flags"] = CALIBRATION
    both = InMemory(image.header_xml, np.concatenate([image.heads, theirs]), [*image.lines, *reference.lines])
    apart = changed(both, encoding=lambda e: setattr(e.parallelImaging, "calibrationMode",
                                                     xsd.calibrationModeType.SEPARATE))  # fmt: skip
    with pytest.raises(UnsupportedScan, match="points of the calibration scan are missing"):
        sorted_scan(apart)


def test_a_calibration_scan_of_its_own_is_a_block_apart(simulated):
    image, reference = simulated(acceleration=(2, 2), n_acs=0), simulated(acceleration=(1, 1))
    near = (abs(reference.heads["idx"]["kspace_encode_step_1"].astype(int) - N // 2) < 5) & (
        abs(reference.heads["idx"]["kspace_encode_step_2"].astype(int) - PARTITIONS // 2) < 4
    )
    theirs = reference.heads[near].copy()
    theirs["flags"] = CALIBRATION
    lines = [*image.lines, *(3 * reference.lines[n] for n in np.flatnonzero(near))]
    both = InMemory(image.header_xml, np.concatenate([image.heads, theirs]), lines)
    apart = changed(both, encoding=lambda e: setattr(e.parallelImaging, "calibrationMode",
                                                     xsd.calibrationModeType.SEPARATE))  # fmt: skip
    scan = sorted_scan(apart).in_memory()
    truth = planes_of(volume_kspace(PARTITIONS, 2.0, COILS, N, 0))
    assert scan.acs.shape == (N, COILS, 9, 7)
    np.testing.assert_allclose(scan.acs, 3 * truth[:, :, 12:21, 3:10], atol=1e-4 * abs(truth).max())
    assert not scan.sampled[13, 6]


def test_calibration_points_that_repeat_those_of_the_image_are_a_scan_apart_whatever_the_header_says(simulated):
    """Of a block about a lattice of 3 x 2 only a sixth repeats points of the image: all that the image has there."""
    image, reference = simulated(acceleration=(3, 2), n_acs=0), simulated(acceleration=(1, 1))
    near = (abs(reference.heads["idx"]["kspace_encode_step_1"].astype(int) - N // 2) < 5) & (
        abs(reference.heads["idx"]["kspace_encode_step_2"].astype(int) - PARTITIONS // 2) < 4
    )
    theirs = reference.heads[near].copy()
    theirs["flags"] = CALIBRATION
    lines = [*image.lines, *(3 * reference.lines[n] for n in np.flatnonzero(near))]
    scan = sorted_scan(InMemory(image.header_xml, np.concatenate([image.heads, theirs]), lines)).in_memory()
    assert scan.acs.shape == (N, COILS, 9, 7)
    np.testing.assert_array_equal(scan.sampled, sampled_points((N, PARTITIONS), (3, 2), 0, 0)[0])


def test_an_asymmetric_echo_keeps_its_centre(simulated):
    whole = simulated(acceleration=(1, 1))
    n_cut = 16
    short = InMemory(whole.header_xml, whole.heads.copy(), [line[:, n_cut:] for line in whole.lines])
    short.heads["number_of_samples"] -= n_cut
    short.heads["center_sample"] -= n_cut
    spectra = np.fft.fftshift(np.fft.fft(sorted_scan(short).in_memory().kspace[:, 0, N // 2, PARTITIONS // 2]))
    assert abs(spectra).argmax() in (N // 2 - 1, N // 2, N // 2 + 1)


def turn(heads):
    heads["slice_dir"][5] = [0, 1, 0]


def move(heads):
    heads["position"][len(heads) // 2 :, 2] += 3


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            {"heads": lambda h: h["idx"]["slice"].__setitem__(slice(10, None), 1)},
            UnsupportedScan,
            "1 of 2 slabs sample other points than the first",
        ),
        ({"heads": move}, UnsupportedScan, "the slab moves"),
        ({"heads": turn}, UnsupportedScan, "the slab moves"),
        (
            {"heads": lambda h: h["flags"].__setitem__(3, REVERSE)},
            UnsupportedScan,
            "3-D, its lines were recorded in both directions .EPI., and it has no navigators",
        ),
        (
            {"encoding": lambda e: setattr(e.encodedSpace.matrixSize, "z", 6)},
            DamagedScan,
            "partitions .* were found, the header announces 0 to 5",
        ),
        ({"kept": lambda h: h["idx"]["kspace_encode_step_2"] < 5}, DamagedScan, "the centre of k-space"),
        (
            {"heads": lambda h: h["idx"]["kspace_encode_step_2"].__setitem__(slice(None), 0)},
            DamagedScan,
            "recorded several times|centre of k-space",
        ),
    ],
)
def test_what_is_no_slab_is_refused_in_a_sentence(simulated, change, error, said):
    with pytest.raises(error, match=said):
        sorted_scan(changed(simulated(acceleration=(1, 1)), **change))


def test_slices_that_were_counted_as_partitions_are_no_kspace(simulated):
    """Transformed along them, 2-D slices would make images of nothing."""
    scan = simulated(acceleration=(1, 1))
    order = np.lexsort((scan.heads["idx"]["kspace_encode_step_1"], scan.heads["idx"]["kspace_encode_step_2"]))
    lines = np.stack([scan.lines[n] for n in order]).reshape(PARTITIONS, N, COILS, 2 * N)
    slices = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(lines, axes=0), axis=0), axes=0).astype(np.complex64)
    as_slices = InMemory(scan.header_xml, scan.heads[order], list(slices.reshape(-1, COILS, 2 * N)))
    with pytest.raises(DamagedScan, match="about equally bright, as slices are"):
        sorted_scan(as_slices)


def test_partial_fourier_along_the_slab_is_remarked_on(simulated):
    scan = sorted_scan(simulated(acceleration=(2, 1), partial_fourier=(1.0, 0.75), n_acs=4))
    assert not scan.sampled[:, :2].any()
    assert "The header announces partitions 0 to 11" in " ".join(scan.remarks)


def test_points_at_random_are_sorted_and_refused_where_they_are_to_be_filled(simulated):
    random = np.random.default_rng(0)
    whole = simulated(acceleration=(1, 1))
    kept = random.random(len(whole.heads)) < 0.4
    centre = (whole.heads["idx"]["kspace_encode_step_1"] == N // 2) & (
        whole.heads["idx"]["kspace_encode_step_2"] == PARTITIONS // 2
    )
    assert sorted_scan(changed(whole, kept=lambda _: kept | centre)).sampled.mean() == pytest.approx(0.4, abs=0.05)


def test_slabs_follow_each_other_as_they_lie_however_they_are_counted(simulated):
    def count_down(heads):
        heads["idx"]["slice"] = 1 - heads["idx"]["slice"]

    scan, turned = (sorted_scan(each) for each in (simulated(**SLABS), changed(simulated(**SLABS), heads=count_down)))
    np.testing.assert_array_equal(turned.in_memory().kspace, scan.in_memory().kspace)
    assert turned.geometry == scan.geometry
    assert len(scan.kspace) == 2 * N


def test_each_slab_of_each_frame_is_in_its_place(simulated):
    one = simulated(**SLABS)
    again = one.heads.copy()
    again["idx"]["repetition"] = 1
    twice = InMemory(
        one.header_xml, np.concatenate([one.heads, again]), [*one.lines, *(2 * line for line in one.lines)]
    )
    scan, single = sorted_scan(twice).in_memory(), sorted_scan(one).in_memory()
    assert (len(scan.frames), scan.n_slices) == (2, 2 * PARTITIONS)
    np.testing.assert_allclose(scan.kspace[: 2 * N], single.kspace)
    np.testing.assert_allclose(scan.kspace[2 * N :], 2 * single.kspace)


def test_a_slab_has_a_calibration_of_its_own(simulated):
    """A scan apart, of the same points: each slab is calibrated by itself, not by the first one's."""
    embedded = simulated(**SLABS)
    calibrates = (embedded.heads["flags"] & (CALIBRATION | BOTH)) > 0
    apart = embedded.heads[calibrates].copy()
    apart["flags"], apart["idx"]["repetition"] = CALIBRATION, 0
    kept = (embedded.heads["flags"] & CALIBRATION) == 0
    heads = np.concatenate([apart, embedded.heads[kept]])
    lines = [embedded.lines[n] for n in (*np.flatnonzero(calibrates), *np.flatnonzero(kept))]
    scan = sorted_scan(InMemory(embedded.header_xml, heads, lines)).in_memory()
    truth = sorted_scan(embedded).in_memory().kspace
    assert scan.acs.shape[0] == 2 * N
    block = scan.acs.shape[2:]
    first, left = N // 2 - block[0] // 2, PARTITIONS // 2 - block[1] // 2
    np.testing.assert_allclose(scan.acs, truth[:, :, first : first + block[0], left : left + block[1]], atol=1e-6)


def test_a_calibration_scan_of_one_slab_is_refused_for_two(simulated):
    embedded = simulated(**SLABS)
    flags = embedded.heads["flags"]
    calibrates = ((flags & (CALIBRATION | BOTH)) > 0) & (embedded.heads["idx"]["slice"] == 0)
    apart = embedded.heads[calibrates].copy()
    apart["flags"] = CALIBRATION
    kept = (flags & CALIBRATION) == 0
    heads = np.concatenate([apart, embedded.heads[kept]])
    heads["flags"][len(apart) :] &= ~BOTH
    lines = [embedded.lines[n] for n in (*np.flatnonzero(calibrates), *np.flatnonzero(kept))]
    with pytest.raises(UnsupportedScan, match="calibration scan has 1 slabs and the image 2"):
        sorted_scan(InMemory(embedded.header_xml, heads, lines))


def back_and_forth(scan):
    """The same, read as an EPI: every second line of a partition backward, each partition with a ghost of its own.

    Three navigators before each partition's lines.
    """
    heads, lines = [], []
    steps, partitions = (scan.heads["idx"][f"kspace_encode_step_{n}"].astype(int) for n in (1, 2))
    pixels = np.arange(2 * N) - N
    for partition in np.unique(partitions):
        phase = 0.05 * pixels + 0.4 + 0.3 * np.sin(partition)
        here = np.flatnonzero(partitions == partition)
        here = here[np.argsort(steps[here])]
        centre = here[len(here) // 2]
        for number, index in enumerate([centre] * 3 + list(here)):
            turned = number % 2 == 1
            ghosted = to_lines(to_profiles(scan.lines[index]) * np.exp((-0.5j if turned else 0.5j) * phase))
            head = scan.heads[index].copy()
            head["flags"] |= NAVIGATOR if number < 3 else np.uint64(0)
            head["flags"] |= REVERSE if turned else np.uint64(0)
            heads.append(head)
            lines.append((ghosted[:, ::-1] if turned else ghosted).astype(np.complex64))
    return InMemory(scan.header_xml, np.array(heads, scan.heads.dtype), lines)


def test_trains_of_a_slab_are_straightened_each_by_its_own_navigators(simulated):
    """3-D EPI, GRASE: as the same slab read one way."""
    scan = simulated(acceleration=(1, 1))
    straight, truth = (sorted_scan(each).in_memory().kspace for each in (back_and_forth(scan), scan))
    assert np.linalg.norm(straight - truth) < 0.03 * np.linalg.norm(truth)


def test_echoes_of_a_slab_that_are_read_backward_whole_are_turned_round(simulated):
    """Bipolar gradient echoes in 3-D: two contrasts, alike."""
    scan = simulated(acceleration=(1, 1))
    second = scan.heads.copy()
    second["idx"]["contrast"], second["flags"] = 1, second["flags"] | REVERSE
    # DC of an even readout comes to n // 2 - 1: the last sample has no partner.
    turned = [np.roll(line[:, ::-1], 1, axis=1) for line in scan.lines]
    second["center_sample"] = N - 1
    both = InMemory(scan.header_xml, np.concatenate([scan.heads, second]), [*scan.lines, *turned])
    first, other = np.split(abs(sorted_scan(both).in_memory().kspace), 2)
    assert np.linalg.norm(other - first) < 0.1 * np.linalg.norm(first)
