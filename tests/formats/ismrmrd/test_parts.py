"""The parts of one scan: frames, calibration lines, files."""

import h5py
import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from ismrmrd.hdf5 import acquisition_dtype

from raki.errors import DamagedScan, NotAScan, UnsupportedScan
from raki.formats import read_scan
from raki.formats.sorting.calibration import find_acs
from raki.images import reconstruct
from raki.prepare.preparation import preprocess
from raki.scan import Frame
from tests.formats.ismrmrd.conftest import images


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


def test_a_frame_that_was_cut_short_is_left_out_and_named(edit):
    def cut(acquisitions):
        again = acquisitions[images(acquisitions)][:-3].copy()
        again["head"]["idx"]["repetition"] = 1
        return np.concatenate([acquisitions, again])

    scan = read_scan(edit(cut))
    assert len(scan.frames) == 1
    assert "left out (repetition 1): slice 1 of repetition 1 has 17 of 20 lines" in scan.remarks[0]


def test_partitions_that_the_header_doesnt_announce_are_refused(edit):
    def count(acquisitions):
        acquisitions["head"]["idx"]["kspace_encode_step_2"][-3:] = 1

    with pytest.raises(DamagedScan, match="partitions 0 to 1 were found, the header announces 0 to 0"):
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


def test_groups_of_one_file_join_like_files(raw, tmp_path):
    whole, path = read_scan(raw), tmp_path / "groups.h5"
    with h5py.File(raw) as file, h5py.File(path, "w") as groups:
        acquisitions, xml = file["dataset/data"][:], file["dataset/xml"][0]
        is_noise = ~images(acquisitions)
        for name, chosen in {"dataset_1": is_noise, "dataset_2": ~is_noise}.items():
            groups.create_dataset(f"{name}/xml", data=[xml], dtype=h5py.special_dtype(vlen=bytes))
            groups.create_dataset(f"{name}/data", data=acquisitions[chosen], dtype=acquisition_dtype)
    scan = read_scan(path)
    np.testing.assert_array_equal(scan.kspace, whole.kspace)
    np.testing.assert_array_equal(scan.noise, whole.noise)
    with h5py.File(path, "r+") as groups:
        first = groups["dataset_2/xml"][0].replace(b"<y>32</y>", b"<y>48</y>")
        groups.create_dataset("dataset_3/xml", data=[first], dtype=h5py.special_dtype(vlen=bytes))
        groups.create_dataset("dataset_3/data", data=acquisitions[~is_noise], dtype=acquisition_dtype)
    with pytest.raises(UnsupportedScan, match="'dataset_2' and 'dataset_3' are no parts of one scan"):
        read_scan(path)


def test_measurements_that_lie_upon_each_other_are_damage(raw, tmp_path):
    path = tmp_path / "one.h5"
    path.write_bytes(raw.read_bytes())
    with h5py.File(path, "r+") as file:
        for number in range(3):
            file[f"again_{number}"] = file["dataset"]
    with pytest.raises(DamagedScan, match="4 measurements hold more bytes than the file"):
        read_scan(path)
    with h5py.File(path, "r+") as file:
        for number in range(3, 40):
            file[f"again_{number}"] = file["dataset"]
    with pytest.raises(UnsupportedScan, match="holds 41 measurements; raki takes 32"):
        read_scan(path)
