"""k-space in arrays: whatever holds them and in whatever order of axes, the same lines come out."""

import json
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raki.errors import DamagedScan
from raki.formats.arrays import scan as array_scan
from raki.formats.arrays.description import Description
from raki.formats.arrays.numpy_files import NUMPY_NPZ
from raki.formats.arrays.scan import ArrayAcquisitions
from raki.formats.sorting.placement import image_geometry
from raki.scan.header import centre_line, matrix_size, parse_header
from tests.formats.arrays.array_files import AXES, FORMATS, kspace, lines, opened, same, write


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_samples_at_their_places(tmp_path, kind):
    full = kspace(2, 3, 5, 8)
    full[:, :, [1, 4]] = 0
    found, heads, header = opened(write(kind, tmp_path / "scan", full), kind)
    assert sorted(place[:2] for place in found) == [(s, line) for s in range(2) for line in (0, 2, 3)]
    for (slice_index, line, *_), samples in found.items():
        np.testing.assert_array_equal(samples, full[slice_index, :, line])
    encoding = header.encoding[0]
    assert matrix_size(encoding.encodedSpace) == (8, 5, 1)
    assert centre_line(encoding) == 2
    assert (heads["center_sample"] == 4).all()
    geometry = image_geometry(heads[[0, -1]], encoding)
    assert (geometry.matrix, geometry.fov_mm, geometry.slice_spacing_mm) == ((5, 8), (8.0, 5.0, 1.0), 1.0)


@settings(max_examples=15)
@given(data=st.data())
def test_the_order_of_axes_doesnt_matter(data):
    others = data.draw(
        st.lists(
            st.sampled_from(["slice", "contrast", "repetition", "average", "phase", "set", "pe2"]),
            unique=True,
            max_size=3,
        )
    )
    order = data.draw(st.permutations([*others, "coil", "pe", "ro"]))
    sizes = {axis: 2 + number for number, axis in enumerate(("coil", "pe", "ro", *others))}
    full = kspace(*sizes.values())
    full[:, 1] = 0
    moved = full.transpose([list(sizes).index(axis) for axis in order])
    plain = lines(ArrayAcquisitions(full, Description(axes=tuple(sizes))))
    assert same(lines(ArrayAcquisitions(moved, Description(axes=tuple(order)))), plain)
    assert len(plain) == (sizes["pe"] - 1) * np.prod([sizes[axis] for axis in others], initial=1)


@settings(max_examples=10)
@given(n_lines=st.integers(1, 12), seed=st.integers(0, 99), is_lazy=st.booleans())
def test_lines_come_in_the_order_asked_for_however_small_the_blocks(n_lines, seed, is_lazy):
    full = kspace(2, 2, 6, 4)
    acquisitions = ArrayAcquisitions(full, Description(axes=AXES))
    wanted = np.random.default_rng(seed).integers(0, 12, n_lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(array_scan, "BLOCK_BYTES", 2 * 2 * 4 * 8 if is_lazy else 1)
        small = ArrayAcquisitions(full, Description(axes=AXES))
    for one, other, index in zip(acquisitions.samples(wanted), small.samples(wanted), wanted, strict=True):
        np.testing.assert_array_equal(one, full[index // 6, :, index % 6])
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["c16", ">c8", "pairs", "pairs of integers"])
def test_numbers_of_other_types_are_the_same_samples(kind):
    full = np.round(100 * kspace(1, 2, 3, 4))
    pairs = np.stack([full.real, full.imag], axis=-1)
    array, axes = {
        "c16": (full.astype(complex), AXES),
        ">c8": (full.astype(">c8"), AXES),
        "pairs": (pairs.astype(np.float64), (*AXES, "complex")),
        "pairs of integers": (pairs.astype(np.int16), (*AXES, "complex")),
    }[kind]
    found = ArrayAcquisitions(array, Description(axes=axes))
    assert same(lines(found), lines(ArrayAcquisitions(full, Description(axes=AXES))))


def test_a_line_is_acquired_where_any_coil_has_a_number_that_is_not_zero():
    full = np.zeros((1, 2, 5, 4), np.complex64)
    full[0, 1, 2, 3] = 1e-20
    full[0, :, 3] = np.nan
    full[0, :, 4] = np.inf
    assert [place[1] for place in lines(ArrayAcquisitions(full, Description(axes=AXES)))] == [2]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30, 1e-30 + 1e300j])
def test_a_line_with_samples_that_no_receiver_gives_is_damage(bad):
    full = kspace(1, 2, 3, 4).astype(complex)
    full[0, 1, 1, 2] = bad
    with pytest.raises(DamagedScan, match="acquisition 1 holds infinite"):
        lines(ArrayAcquisitions(full, Description(axes=AXES)))


def test_noise_and_separate_calibration_come_with_their_flags(tmp_path):
    noise, acs = kspace(3, array_scan.NOISE_SAMPLES + 7), kspace(2, 3, 4, 6)
    np.savez(
        tmp_path / "scan.npz",
        **{"kspace": kspace(2, 3, 9, 8), "axes": ["slice", "coil", "pe", "ro"], "noise": noise, "acs": acs},
        **{"dwell_time_s": 5e-6, "noise_dwell_time_s": 20e-6, "slice_spacing_mm": 3.0},
    )
    with NUMPY_NPZ.open(tmp_path / "scan.npz") as found:
        heads = found.heads
        is_noise = heads["flags"] == 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)
        apart = heads["flags"] == 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
        np.testing.assert_array_equal(np.hstack(list(found.samples(np.flatnonzero(is_noise)))), noise)
        recorded = np.stack(list(found.samples(np.flatnonzero(apart))))
        mode = parse_header(found.header_xml).encoding[0].parallelImaging.calibrationMode
    np.testing.assert_array_equal(recorded.reshape(2, 4, 3, 6).transpose(0, 2, 1, 3), acs)
    # The centre of k-space is line 4 of 9, and the third of four calibration lines.
    assert heads["idx"]["kspace_encode_step_1"][apart].tolist() == [2, 3, 4, 5] * 2
    assert heads["position"][apart][:, 2].tolist() == [0.0] * 4 + [3.0] * 4
    assert (heads["center_sample"][apart] == 3).all()
    assert mode.value == "separate"
    assert heads["sample_time_us"][is_noise] == pytest.approx([20.0, 20.0])
    assert heads["sample_time_us"][~is_noise] == pytest.approx([5.0] * (8 + 18))


def test_geometry_that_is_told_is_that_of_the_image(tmp_path):
    told = {
        "fov_mm": [220, 165, 4],
        "slice_spacing_mm": 5.5,
        "readout_oversampling": 2,
        "phase_oversampling": 1.25,
        "image_rows": 24,
        "position_mm": [1, 2, 3],
        "read_direction": [0, 1, 0],
        "phase_direction": [0, 0, 1],
        "slice_direction": [1, 0, 0],
        "field_strength_t": 3,
        "acs_lines": [10, 14],
    }
    path = write("npy", tmp_path / "scan", kspace(3, 2, 30, 64))
    path.with_suffix(".json").write_text(json.dumps({"axes": list(AXES), **told}))
    _, heads, header = opened(path, "npy")
    geometry = image_geometry(heads[[0, 30, 60]], header.encoding[0])
    assert geometry.fov_mm == pytest.approx((220, 165, 4))
    assert (geometry.matrix, geometry.phase_oversampling) == ((24, 32), 1.25)
    assert geometry.slice_spacing_mm == 5.5
    assert (geometry.position_mm, geometry.slice_direction) == ((1.0, 2.0, 3.0), (1.0, 0.0, 0.0))
    assert header.acquisitionSystemInformation.systemFieldStrength_T == 3.0
    assert header.experimentalConditions.H1resonanceFrequency_Hz == pytest.approx(127.7e6, rel=1e-3)
    flagged = np.flatnonzero(heads["flags"] == 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING - 1))
    assert np.unique(heads["idx"]["kspace_encode_step_1"][flagged]).tolist() == [10, 11, 12, 13]


def test_second_phase_encoding_and_frames_are_announced():
    full = kspace(2, 3, 4, 5, 6)
    found = ArrayAcquisitions(full, Description(axes=("contrast", "partition", "coil", "pe", "ro")))
    encoding = parse_header(found.header_xml).encoding[0]
    assert matrix_size(encoding.encodedSpace) == (6, 5, 3)
    assert encoding.encodingLimits.kspace_encoding_step_2.center == 1
    assert encoding.encodingLimits.contrast.maximum == 1


@pytest.mark.parametrize("name", ["brain16_iraki_lowres", "phantom8_ge_7slices"])
def test_real_arrays_are_read_where_they_stand(real_scans, tmp_path, name):
    path = tmp_path / "scan.npy"
    path.symlink_to(real_scans / f"kspace/{name}.npy")
    path.with_suffix(".json").write_text('{"axes": "slice coil pe ro"}')
    full = np.load(path)
    found, _, header = opened(path, "npy")
    assert len(found) == full.shape[0] * full.shape[2]
    assert all(np.array_equal(samples, full[place[0], :, place[1]]) for place, samples in found.items())
    energy = {place: float((np.abs(samples) ** 2).sum()) for place, samples in found.items()}
    assert abs(max(energy, key=energy.get)[1] - centre_line(header.encoding[0])) <= 1


def test_a_real_scan_with_its_noise_and_its_calibration(real_scans, tmp_path):
    folder = real_scans / "kspace"
    full, acs = (np.load(folder / f"phantom16_R2_epi_xingkong{name}.npy") for name in ("", "_acs"))
    np.savez(tmp_path / "scan.npz", kspace=full, acs=acs, axes="slice coil pe ro")
    found, heads, _ = opened(tmp_path / "scan.npz", "npz")
    assert sorted(place[1] for place in found) == list(range(1, 62, 2))
    apart = heads["flags"] == 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
    assert heads["idx"]["kspace_encode_step_1"][apart].tolist() == list(range(20, 44))


def test_folder_of_the_file_is_left_as_it_was(tmp_path):
    for kind in FORMATS:
        path = write(kind, tmp_path / kind, kspace(1, 2, 3, 4))
        before = {one: one.read_bytes() for one in Path(tmp_path).iterdir()}
        opened(path, kind)
        assert {one: one.read_bytes() for one in Path(tmp_path).iterdir()} == before
