import re
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from ismrmrd.hdf5 import acquisition_dtype

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats import open_scan, read_scan
from raki.formats.ismrmrd.header import parse_header
from raki.formats.sorting import find_acs
from raki.phantom import phantom_kspace
from raki.preprocess import preprocess
from raki.reconstruction import reconstruct
from raki.scan import Frame
from raki.simulation import simulate_scan

VENDOR = Path(__file__).parents[2] / "shared/data/vendor"


@pytest.fixture
def edit(raw, tmp_path):
    """Copies the small scan and changes its acquisitions or header."""

    def changed(change_heads=None, change_xml=None):
        path = tmp_path / "changed.h5"
        path.write_bytes(raw.read_bytes())
        with h5py.File(path, "r+") as file:
            if change_heads:
                acquisitions = file["dataset/data"][:]
                changed_acquisitions = change_heads(acquisitions)
                acquisitions = acquisitions if changed_acquisitions is None else changed_acquisitions
                file["dataset/data"].resize(len(acquisitions), axis=0)
                file["dataset/data"][:] = acquisitions
            if change_xml:
                file["dataset/xml"][0] = change_xml(file["dataset/xml"][0].decode()).encode()
        return path

    return changed


def images(acquisitions):
    return acquisitions["head"]["flags"] & np.uint64(1 << 18) == 0


def test_noise_free_scan_is_the_phantom_on_the_sampled_lines(tmp_path):
    path = tmp_path / "scan.h5"
    simulate_scan(path, n_slices=2, n_coils=3, matrix=32, acceleration=2, n_acs_lines=8, noise_level=0.0, seed=5)
    scan = read_scan(path)
    truth = phantom_kspace(2, 3, 32, 5, readout_oversampling=2)
    np.testing.assert_array_equal(scan.kspace[:, :, scan.sampled], truth[:, :, scan.sampled])
    assert not scan.kspace[:, :, ~scan.sampled].any()
    assert scan.noise is None
    assert scan.noise_dwell_ratio == 1.0


def test_simulated_scan_is_read_as_it_was_planned(raw):
    scan = read_scan(raw)
    assert scan.kspace.shape == (2, 3, 32, 64)
    assert scan.acs_lines == (12, 20)
    assert scan.noise.shape == (3, 16 * 64)
    assert scan.noise_dwell_ratio == 0.5
    assert scan.readout_oversampling == 2.0
    assert scan.geometry.fov_mm == (220.0, 220.0, 4.0)
    assert scan.geometry.matrix == (32, 32)
    assert scan.geometry.slice_spacing_mm == pytest.approx(10.0)
    assert scan.geometry.position_mm[2] == pytest.approx(11.0)
    assert parse_header(scan.header_xml).subjectInformation.patientName == "Phantom^Digital"


def test_fully_sampled_scan_is_all_calibration(tmp_path):
    simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=2, matrix=16, acceleration=1, n_acs_lines=8)
    scan = read_scan(tmp_path / "scan.h5")
    assert scan.sampled.all()
    assert scan.acs_lines == (0, 16)


def test_undersampled_scan_without_calibration_says_so(tmp_path):
    simulate_scan(tmp_path / "scan.h5", n_slices=1, n_coils=2, matrix=16, acceleration=2, n_acs_lines=0)
    assert read_scan(tmp_path / "scan.h5").acs_lines is None


def test_what_the_library_writes_is_read_the_same(raw, tmp_path):
    path = tmp_path / "library.h5"
    with ismrmrd.Dataset(raw, mode="r") as source, ismrmrd.Dataset(path, mode="w") as copy:
        copy.write_xml_header(source.read_xml_header())
        for index in range(source.number_of_acquisitions()):
            copy.append_acquisition(source.read_acquisition(index))
    np.testing.assert_array_equal(read_scan(path).kspace, read_scan(raw).kspace)


def test_order_of_acquisition_does_not_matter(raw, edit):
    shuffled = edit(lambda acquisitions: np.random.default_rng(1).permutation(acquisitions))
    np.testing.assert_array_equal(read_scan(shuffled).kspace, read_scan(raw).kspace)


def test_slices_counted_in_time_are_put_in_space(raw, edit):
    def swap(acquisitions):
        counter = acquisitions["head"]["idx"]["slice"]
        counter[images(acquisitions)] = 1 - counter[images(acquisitions)]

    swapped, scan = read_scan(edit(swap)), read_scan(raw)
    np.testing.assert_array_equal(swapped.kspace, scan.kspace)
    assert swapped.geometry == scan.geometry


def test_averages_keep_the_noise_at_the_level_of_one_recording(raw, edit):
    def twice(acquisitions):
        again = acquisitions.copy()
        again["head"]["idx"]["average"] = 1
        return np.concatenate([acquisitions, again[images(again)]])

    np.testing.assert_allclose(read_scan(edit(twice)).kspace, np.sqrt(2) * read_scan(raw).kspace, rtol=1e-5)


def test_lines_for_the_scanners_own_use_are_left_out(raw, edit):
    def navigator(acquisitions):
        extra = acquisitions[images(acquisitions)][:5].copy()
        extra["head"]["flags"] = [1 << 22, 1 << 23, 1 << 25, 1 << 26, 1 << 27]
        return np.concatenate([acquisitions, extra])

    np.testing.assert_array_equal(read_scan(edit(navigator)).kspace, read_scan(raw).kspace)


def test_asymmetric_echo_and_discarded_samples_keep_the_echo_in_the_centre(raw, edit):
    def cut(acquisitions):
        for index in np.flatnonzero(images(acquisitions)):
            samples = acquisitions["data"][index].view(np.complex64).reshape(3, 64)[:, 20:]
            acquisitions["data"][index] = np.ascontiguousarray(samples).reshape(-1).view(np.float32)
            head = acquisitions["head"][index]
            head["number_of_samples"], head["center_sample"] = 44, 12
            head["discard_pre"], head["discard_post"] = 2, 3

    scan, full = read_scan(edit(cut)), read_scan(raw)
    np.testing.assert_array_equal(scan.kspace[..., 22:61], full.kspace[..., 22:61])
    assert not scan.kspace[..., :22].any()
    assert not scan.kspace[..., 61:].any()


@pytest.mark.parametrize("counter", ["contrast", "repetition", "phase", "set"])
def test_frames_follow_each_other_slice_by_slice(raw, edit, counter):
    def again_at_half(acquisitions):
        again = acquisitions[images(acquisitions)].copy()
        again["head"]["idx"][counter] = 3
        for index, samples in enumerate(again["data"]):
            again["data"][index] = samples / 2
        return np.concatenate([again, acquisitions])

    scan, one = read_scan(edit(again_at_half)), read_scan(raw)
    assert scan.frames == (Frame(), Frame(**{counter: 3}))
    assert scan.n_slices == 2
    assert scan.geometry == one.geometry
    np.testing.assert_array_equal(scan.kspace, np.concatenate([one.kspace, one.kspace / 2]))


def test_a_frame_that_was_cut_short_is_named(edit):
    def cut(acquisitions):
        again = acquisitions[images(acquisitions)][:-3].copy()
        again["head"]["idx"]["repetition"] = 1
        return np.concatenate([acquisitions, again])

    with pytest.raises(DamagedScan, match="slice 3 has 17 lines, slice 0 has 20"):
        read_scan(edit(cut))


def test_partitions_are_refused_by_name(edit):
    def count(acquisitions):
        acquisitions["head"]["idx"]["kspace_encode_step_2"][-3:] = 1

    with pytest.raises(UnsupportedScan, match="2 partitions"):
        read_scan(edit(count))


def apart(acquisitions):
    """Calibration lines of their own instead of those in the image, in slices counted the other way round."""
    head = acquisitions["head"]
    is_acs = images(acquisitions) & (np.abs(head["idx"]["kspace_encode_step_1"] - 15.5) < 4)
    calibration = acquisitions[is_acs].copy()
    calibration["head"]["flags"] = 1 << 19
    calibration["head"]["idx"]["slice"] = 1 - calibration["head"]["idx"]["slice"]
    on_lattice = head["idx"]["kspace_encode_step_1"] % 2 == 0
    acquisitions["head"]["flags"][images(acquisitions)] = 0
    return np.concatenate([calibration, acquisitions[~images(acquisitions) | on_lattice]])


def test_calibration_lines_acquired_apart_stay_apart(raw, edit):
    separate = edit(apart, lambda xml: xml.replace(">embedded<", ">separate<"))
    scan, full = read_scan(separate), read_scan(raw)
    assert scan.acs_lines is None
    np.testing.assert_array_equal(np.flatnonzero(scan.sampled), np.arange(0, 32, 2))
    np.testing.assert_array_equal(scan.acs, full.kspace[:, :, 12:20])
    np.testing.assert_array_equal(scan.kspace[:, :, scan.sampled], full.kspace[:, :, ::2])


def test_calibration_lines_acquired_apart_serve_every_frame(edit):
    def again(acquisitions):
        separate = apart(acquisitions)
        is_line = images(separate) & (separate["head"]["flags"] == 0)
        repeated = separate[is_line].copy()
        repeated["head"]["idx"]["repetition"] = 1
        return np.concatenate([separate, repeated])

    scan = preprocess(read_scan(edit(again, lambda xml: xml.replace(">embedded<", ">separate<"))))
    assert (len(scan.kspace), len(scan.acs), scan.n_slices) == (4, 2, 2)
    images_ = reconstruct(scan, method="grappa", device="cpu").result
    np.testing.assert_array_equal(images_[:2], images_[2:])


def test_files_of_one_scan_are_recognised_as_one(raw, tmp_path):
    whole = read_scan(raw)
    with h5py.File(raw) as file:
        acquisitions, xml = file["dataset/data"][:], file["dataset/xml"][0]
    together = apart(acquisitions.copy())
    is_noise = ~images(together)
    calibrates = together["head"]["flags"] == 1 << 19
    files = []
    for name, chosen in {"b": is_noise, "c": calibrates, "a": ~is_noise & ~calibrates}.items():
        files.append(tmp_path / name)
        with h5py.File(files[-1], "w") as file:
            file.create_dataset("dataset/xml", data=[xml], dtype=h5py.special_dtype(vlen=bytes))
            file.create_dataset("dataset/data", data=together[chosen], dtype=acquisition_dtype)
    scan = read_scan(*files)
    np.testing.assert_array_equal(scan.acs, whole.kspace[:, :, 12:20])
    np.testing.assert_array_equal(scan.noise, whole.noise)
    assert scan.noise_dwell_ratio == whole.noise_dwell_ratio
    np.testing.assert_array_equal(scan.kspace[:, :, scan.sampled], whole.kspace[:, :, ::2])
    with pytest.raises(UnsupportedScan, match="2 measurements"):
        read_scan(raw, files[-1])
    with pytest.raises(NotAScan, match="noise and calibration lines only"):
        read_scan(*files[:2])


def test_slices_acquired_in_turns_are_read_one_by_one(raw, edit):
    def in_turns(acquisitions):
        order = np.lexsort([acquisitions["head"]["idx"]["slice"], acquisitions["head"]["idx"]["kspace_encode_step_1"]])
        return acquisitions[order]

    whole = read_scan(raw)
    with open_scan([edit(in_turns)]) as scan:
        assert not isinstance(scan.kspace, np.ndarray)
        for index in (1, 0):
            np.testing.assert_array_equal(scan.kspace[index], whole.kspace[index])
        with pytest.raises(IndexError, match="slice 2"):
            scan.kspace[2]


@pytest.mark.parametrize(
    ("old", "new", "error", "named"),
    [
        ("<trajectory>cartesian", "<trajectory>spiral", UnsupportedScan, "'spiral'"),
        ("<z>1</z>", "<z>24</z>", UnsupportedScan, "24 partitions"),
        ("<x>64</x>", "<x>many</x>", DamagedScan, "matrix size of many"),
        ("<x>64</x>", "<x>48</x>", DamagedScan, "announces 48 samples"),
        ("<y>32</y>", "<y>24</y>", DamagedScan, "announces 0 to 23"),
        ("<x>220.0</x>", "<x>0</x>", DamagedScan, "field of view of 0"),
        ("<center>16</center>", f"<center>{10**30}</center>", DamagedScan, "as its centre line"),
        ("<center>16</center>", "<center>middle</center>", DamagedScan, "gives middle as its centre line"),
        ("<maximum>1</maximum>", "<maximum>-3</maximum>", DamagedScan, "gives -3 as its last slice"),
        ("<minimum>0</minimum>", "<minimum>none</minimum>", DamagedScan, "gives none as its first slice"),
        ("<maximum>1</maximum>", "<maximum>2</maximum>", DamagedScan, "announces 3 slices, 2 were found"),
        ("</encoding>", "", DamagedScan, "not valid ISMRMRD XML"),
        ("<ismrmrdHeader", "<!DOCTYPE x><ismrmrdHeader", DamagedScan, "declares entities"),
    ],
)
def test_header_that_is_wrong_or_asks_too_much_is_named(edit, old, new, error, named):
    path = edit(change_xml=lambda xml: xml.replace(old, new))
    with pytest.raises(error, match=re.escape(named)):
        read_scan(path)


def test_lines_that_serve_both_are_embedded_whatever_the_header_claims(raw, edit):
    path = edit(change_xml=lambda xml: xml.replace(">embedded<", ">separate<"))
    np.testing.assert_array_equal(read_scan(path).kspace, read_scan(raw).kspace)


def test_header_with_a_vendors_own_elements_is_read(raw, edit):
    path = edit(change_xml=lambda xml: xml.replace("</encoding>", "</encoding><vendorExtra>1</vendorExtra>"))
    np.testing.assert_array_equal(read_scan(path).kspace, read_scan(raw).kspace)


def set_flag(acquisitions):
    acquisitions["head"]["flags"][-1] |= np.uint64(1 << 21)


def spoil(acquisitions):
    acquisitions["data"][-1][3] = np.nan


def shorten(acquisitions):
    acquisitions["data"][-1] = acquisitions["data"][-1][:10]


def overflow(acquisitions):
    acquisitions["data"][-1][3] = 1e30


def misplace(acquisitions):
    acquisitions["head"]["position"][-1] = np.nan


def lose_a_coil(acquisitions):
    acquisitions["head"]["active_channels"][-1] = 2


@pytest.mark.parametrize(
    ("change", "error", "named"),
    [
        (set_flag, UnsupportedScan, "no navigators"),
        (spoil, DamagedScan, "infinite or undefined"),
        (overflow, DamagedScan, "beyond 1e\\+15"),
        (misplace, DamagedScan, "position"),
        (shorten, DamagedScan, "holds 10 numbers"),
        (lose_a_coil, DamagedScan, "2 to 3 coils"),
        (lambda acquisitions: acquisitions[:-1], DamagedScan, "slice 1 has"),
        (lambda acquisitions: acquisitions[:16], NotAScan, "no image lines"),
        (lambda acquisitions: acquisitions[:0], NotAScan, "no image lines"),
    ],
)
def test_acquisitions_that_do_not_make_a_scan_are_named(edit, change, error, named):
    with pytest.raises(error, match=named):
        read_scan(edit(change))


@pytest.mark.parametrize(
    ("content", "error", "named"),
    [
        (b"", NotAScan, "empty"),
        (b"patient notes\n", NotAScan, "text"),
        (b"\x1f\x8b\x08 packed", NotAScan, "gzip archive"),
        (b"\0" * 128 + b"DICM", NotAScan, "DICOM"),
        (b"\x07\0\xff\xff" * 9, NotAScan, "no raw data that raki knows"),
        (b"\x89HDF\r\n\x1a\n", DamagedScan, "truncated or damaged"),
    ],
)
def test_other_files_are_refused_by_what_they_are(tmp_path, content, error, named):
    path = tmp_path / "Doe^Jane.h5"
    path.write_bytes(content)
    with pytest.raises(error, match=named) as raised:
        read_scan(path)
    assert "Doe" not in str(raised.value)


def test_hdf5_of_something_else_is_no_scan(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["weights"] = np.zeros((2, 3))
    with pytest.raises(NotAScan, match="no ISMRMRD acquisitions") as raised:
        read_scan(tmp_path / "other.h5")
    assert raised.value.failure_class == "NotAScan"


def test_missing_header_is_named(edit):
    path = edit()
    with h5py.File(path, "r+") as file:
        del file["dataset/xml"]
    with pytest.raises(DamagedScan, match="no header"):
        read_scan(path)


@seed(3)
@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=2, max_size=40), st.data())
def test_acs_is_sampled_throughout_and_contains_the_centre(sampled, data):
    mask = np.array(sampled)
    flagged = np.array(data.draw(st.lists(st.booleans(), min_size=len(mask), max_size=len(mask)))) & mask
    acs = find_acs(mask, flagged)
    if acs is None:
        centre = len(mask) // 2
        neighbours = mask[max(0, centre - 1) : centre + 2]
        assert not mask[centre] or neighbours.sum() < 2
    else:
        assert mask[slice(*acs)].all()
        assert acs[0] <= len(mask) // 2 < acs[1]
        assert acs[1] - acs[0] > 1


def test_flags_keep_the_lattice_beside_the_acs_out_of_it():
    sampled, flagged = np.zeros(24, bool), np.zeros(24, bool)
    sampled[::4] = sampled[9:16] = flagged[9:16] = True
    assert find_acs(sampled, flagged) == (9, 16)
    assert find_acs(sampled, np.zeros(24, bool)) == (8, 17)


def test_real_scan_is_read_right():
    path = VENDOR / "SNR_R3_14ch_grappa3_noise.h5"
    if not path.exists():
        pytest.skip("the real scans are not here")
    scan = read_scan(path)
    assert scan.kspace.shape == (1, 14, 144, 384)
    assert scan.noise.shape == (14, 384)
    assert scan.noise_dwell_ratio == pytest.approx(2.4 / 20)
    lattice = set(range(18, 124, 3))
    assert set(np.flatnonzero(scan.sampled)) == lattice | set(range(48, 96))
    assert scan.acs_lines == (48, 96)
    energy = (np.abs(scan.kspace[0]) ** 2).sum(axis=0)
    brightest = np.unravel_index(energy.argmax(), energy.shape)
    assert np.abs(np.subtract(brightest, (72, 192))).max() <= 2
    assert scan.geometry.fov_mm == (280.0, 210.0, 8.0)
    assert scan.geometry.matrix == (144, 192)
    assert scan.geometry.read_direction[0] == pytest.approx(-1.0)
