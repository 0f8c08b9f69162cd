"""EPI: samples from the gradient's ramps land where they belong, and forward and reversed lines are made to agree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.epi.ghost import correct_nyquist, flip_reversed, ghost_level, nyquist_phase
from raki.formats.epi.ramps import RampSampling, readout_positions, regrid_ramps
from raki.scan.header import parse_header
from raki.scan.nyquist import NyquistPhase

TIMES = {
    # Samples 1.26/FOV apart in the middle, with twofold oversampling: 0.63 of the image's field of view.
    "oversampled": {"up": 160, "flat": 240, "down": 160, "delay": 32, "dwell": 3.1, "samples": 160, "kept": 160},
    "dense": {"up": 130, "flat": 450, "down": 130, "delay": 83, "dwell": 1.7, "samples": 320, "kept": 256},
    "long ramps": {"up": 150, "flat": 100, "down": 150, "delay": 20, "dwell": 2.0, "samples": 180, "kept": 96},
    "flat top only": {"up": 100, "flat": 256, "down": 100, "delay": 100, "dwell": 1.0, "samples": 256, "kept": 128},
    "off the middle": {"up": 130, "flat": 450, "down": 120, "delay": 75, "dwell": 1.7, "samples": 320, "kept": 256},
}


def sampling(name, **changed):
    times = TIMES[name] | changed
    return RampSampling(
        ramp_up_us=float(times["up"]),
        flat_top_us=float(times["flat"]),
        ramp_down_us=float(times["down"]),
        delay_us=float(times["delay"]),
        dwell_us=times["dwell"],
        n_samples=times["samples"],
        n_kept=times["kept"],
    )


HEADER = """<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>123000000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding>
<encodedSpace><matrixSize><x>{kept}</x><y>80</y><z>1</z></matrixSize>
<fieldOfView_mm><x>480</x><y>240</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>80</x><y>80</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{image_fov}</x><y>240</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits/><trajectory>epi</trajectory>
<trajectoryDescription><identifier>{identifier}</identifier>{parameters}</trajectoryDescription>
</encoding></ismrmrdHeader>"""
LONG = "<userParameterLong><name>{}</name><value>{}</value></userParameterLong>"
DOUBLE = "<userParameterDouble><name>dwellTime</name><value>{}</value></userParameterDouble>"
NAMES = {
    "rampUpTime": "up",
    "flatTopTime": "flat",
    "rampDownTime": "down",
    "acqDelayTime": "delay",
    "numSamples": "samples",
}


def encoding(identifier="ConventionalEPI", image_fov=240, without=(), **changed):
    times = TIMES["oversampled"] | changed
    parameters = [LONG.format(name, times[key]) for name, key in NAMES.items() if key not in without]
    # Two of no interest here, as converters write them.
    parameters += [LONG.format("etl", 80), LONG.format("numberOfNavigators", 3)]
    parameters += [DOUBLE.format(times["dwell"])] if "dwell" not in without else []
    xml = HEADER.format(kept=times["kept"], image_fov=image_fov, identifier=identifier, parameters="".join(parameters))
    return parse_header(xml).encoding[0]


def test_reads_the_readout_from_the_header():
    assert RampSampling.from_header(encoding()) == sampling("oversampled")


def test_no_ramps_to_regrid_where_the_header_has_none():
    silent = encoding()
    silent.trajectoryDescription = None
    uniform = encoding(up=160, delay=170, flat=500, dwell=3.0, samples=160)
    no_gradient = encoding(up=0, flat=0, down=0, delay=0)
    for one in (silent, uniform, no_gradient, encoding(identifier="HargreavesVDS2000")):
        assert RampSampling.from_header(one) is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"up": -1}, "-1"),
        ({"flat": 10**7}, "1e\\+07"),
        ({"dwell": 0}, "every 0 us"),
        ({"dwell": 1e-300}, "1e-300"),
        ({"dwell": "nan"}, "dwellTime"),
        ({"dwell": "fast"}, "dwellTime"),
        ({"samples": 0}, "0 samples"),
        ({"samples": 10**9}, "samples"),
        ({"samples": 400}, "to 1272 us"),
        ({"samples": 60}, "both sides"),
        ({"delay": 300}, "both sides"),
        ({"up": 0, "flat": 0, "down": 1}, "under the gradient"),
        ({"without": ("delay",)}, "acqDelayTime"),
        ({"without": ("dwell",)}, "dwellTime"),
        ({"kept": 60000}, "60000 points"),
    ],
)
def test_an_impossible_readout_is_damage_in_one_sentence(wrong, named):
    with pytest.raises(DamagedScan, match=named) as raised:
        RampSampling.from_header(encoding(**wrong))
    assert "\n" not in str(raised.value)


def test_a_readout_too_sparse_for_the_image_is_refused():
    with pytest.raises(UnsupportedScan, match=r"1\.26/FOV apart"):
        RampSampling.from_header(encoding(image_fov=480))


@pytest.mark.parametrize("name", TIMES)
def test_positions_are_the_gradients_area(name):
    """Against the trapezoid summed up in steps of a nanosecond."""
    ramps = sampling(name)
    fine_us = np.arange(0, ramps.duration_us, 0.001) + 0.0005
    corners = np.cumsum([0, ramps.ramp_up_us, ramps.flat_top_us, ramps.ramp_down_us])
    area = np.cumsum(np.interp(fine_us, corners, [0, 1, 1, 0])) * 0.001
    start, end = (np.interp(time, fine_us, area) for time in (ramps.delay_us, ramps.end_us))
    middles_us = ramps.delay_us + (np.arange(ramps.n_samples) + 0.5) * ramps.dwell_us
    expected = (np.interp(middles_us, fine_us, area) - area[-1] / 2) * ramps.n_kept / (end - start)
    np.testing.assert_allclose(readout_positions(ramps), expected, atol=2e-3)


@pytest.mark.parametrize("name", ["oversampled", "dense", "long ramps", "flat top only"])
def test_centred_sampling_serves_both_directions(name):
    positions = readout_positions(sampling(name))
    np.testing.assert_allclose(readout_positions(sampling(name), reversed_line=True), positions, atol=1e-9)
    assert (np.diff(positions) > 0).all()


def compact_object(positions, width):
    """k-space of three boxes within `width` of the field of view."""
    boxes = ((-0.25, 0.28, 1), (0.15, 0.42, 0.4 + 0.6j), (0.35, 0.14, -0.5))
    return sum(
        value * size * width * np.sinc(positions * size * width) * np.exp(-2j * np.pi * positions * centre * width)
        for centre, size, value in boxes
    ).astype(np.complex64)


def unscaled_error(found, wanted):
    scale = np.vdot(wanted, found) / np.vdot(wanted, wanted)
    return np.linalg.norm(found / scale - wanted) / np.linalg.norm(wanted)


# Measured on these readouts, plus a third: between the samples, and with the outermost point, half a sample beyond.
BETWEEN, IN_ALL = 0.00052, 0.0023


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("width", [0.4, 0.5, 0.7])
@pytest.mark.parametrize("reversed_line", [False, True])
def test_regridding_gives_what_uniform_sampling_would(name, width, reversed_line):
    ramps = sampling(name)
    positions = readout_positions(ramps, reversed_line=reversed_line)
    points = np.arange(ramps.n_kept) - ramps.n_kept // 2
    found, wanted = (
        regrid_ramps(compact_object(positions, width), positions, len(points)),
        compact_object(points, width),
    )
    between = (points >= positions[0]) & (points <= positions[-1])
    assert unscaled_error(found[between], wanted[between]) < BETWEEN
    if name != "off the middle":
        assert np.count_nonzero(~between) == 1
        assert unscaled_error(found, wanted) < IN_ALL


def test_unregridded_ramps_would_be_far_off():
    ramps = sampling("oversampled")
    wanted = compact_object(np.arange(160) - 80, 0.5)
    assert unscaled_error(compact_object(readout_positions(ramps), 0.5), wanted) > 0.2


@pytest.mark.parametrize("name", TIMES)
def test_regridding_keeps_the_level_of_noise(name):
    ramps = sampling(name)
    noise = complex_noise((4000, ramps.n_samples), seed=1)
    positions = readout_positions(ramps)
    power = np.mean(np.abs(regrid_ramps(noise, positions, ramps.n_kept)) ** 2, axis=0)
    points = np.arange(ramps.n_kept) - ramps.n_kept // 2
    assert np.mean(power) == pytest.approx(1, abs=0.01)
    assert power[(points >= positions[0]) & (points <= positions[-1])].max() < 1.6


def test_regridding_refuses_lines_of_another_length():
    with pytest.raises(DamagedScan, match="128 samples, the header's readout has 160"):
        regrid_ramps(np.zeros((2, 128), np.complex64), readout_positions(sampling("oversampled")), 160)


def complex_noise(shape, seed):
    random = np.random.default_rng(seed)
    return ((random.standard_normal(shape) + 1j * random.standard_normal(shape)) / np.sqrt(2)).astype(np.complex64)


N_COILS, N_PE, N_RO = 3, 32, 64
PIXELS = np.arange(N_RO) - N_RO // 2


def to_kspace(images, axes):
    return np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(images, axes=axes), axes=axes, norm="ortho"), axes=axes)


def to_image(kspace):
    axes = (0, 2)
    coils = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace, axes=axes), axes=axes, norm="ortho"), axes=axes)
    return np.sqrt(np.sum(np.abs(coils) ** 2, axis=1)).astype(np.float32)


def coil_images():
    """Two blocks and smooth coils, `pe coil ro`: half the field of view along phase-encode is left empty."""
    rows, columns = np.mgrid[-1 : 1 : N_PE * 1j, -1 : 1 : N_RO * 1j]
    body = np.where((np.abs(rows) < 0.4) & (np.abs(columns) < 0.7), 1.0, 0.0)
    body += np.where((np.abs(rows - 0.1) < 0.2) & (np.abs(columns + 0.2) < 0.2), 0.7, 0.0)
    coils = [np.exp(-((columns - place) ** 2) + 1j * (rows + place * columns)) for place in (-0.8, 0.1, 0.9)]
    return np.stack([body * coil for coil in coils], axis=1)


def delayed(profiles, is_reversed, phase):
    """What a delay makes of lines in image space along the readout: here all of the phase goes to the forward ones."""
    turn = np.exp(1j * (phase.offset_rad + phase.slope_rad_per_pixel * PIXELS))
    return np.where(is_reversed[:, None, None], profiles, profiles * turn)


def navigator_profiles(n_navigators, drift_rad, fat_rad=0.0):
    """Projections without phase encoding, turned from echo to echo by off-resonance; fat at the left edge by more."""
    projection = coil_images().sum(axis=0)
    per_echo = np.where(PIXELS < -15, drift_rad + fat_rad, drift_rad)
    weight = np.where((PIXELS < -15) & (fat_rad != 0), 2.0, 1.0)
    return np.stack([projection * weight * np.exp(1j * per_echo * echo) for echo in range(n_navigators)])


def navigators(phase, is_reversed, *, noise=0.01, drift_rad=0.3, fat_rad=0.0):
    profiles = delayed(navigator_profiles(len(is_reversed), drift_rad, fat_rad), is_reversed, phase)
    return (to_kspace(profiles, axes=(-1,)) + noise * complex_noise(profiles.shape, seed=2)).astype(np.complex64)


def angle_between(one, other):
    return abs(np.angle(np.exp(1j * (one - other))))


ORDERS = [(1, 0, 1), (0, 1, 0), (0, 1, 0, 1, 0), (1, 0, 1, 0)]


@given(
    slope=st.floats(-0.3, 0.3), offset=st.floats(-3.1, 3.1), drift=st.floats(-1.2, 1.2), order=st.sampled_from(ORDERS)
)
def test_navigators_tell_the_phase_whatever_the_off_resonance(slope, offset, drift, order):
    is_reversed = np.array(order, bool)
    truth = NyquistPhase(slope_rad_per_pixel=slope, offset_rad=offset)
    found = nyquist_phase(navigators(truth, is_reversed, drift_rad=drift), is_reversed)
    assert abs(found.slope_rad_per_pixel - slope) < 2e-4
    assert angle_between(found.offset_rad, offset) < 5e-3


def test_two_navigators_do_where_nothing_drifts():
    is_reversed = np.array([False, True])
    truth = NyquistPhase(slope_rad_per_pixel=0.05, offset_rad=-0.7)
    found = nyquist_phase(navigators(truth, is_reversed, drift_rad=0.0), is_reversed)
    assert abs(found.slope_rad_per_pixel - 0.05) < 2e-4
    assert angle_between(found.offset_rad, -0.7) < 5e-3


def test_bright_fat_far_off_resonance_does_not_bend_the_line():
    is_reversed = np.array([True, False, True])
    truth = NyquistPhase(slope_rad_per_pixel=0.03, offset_rad=0.4)
    found = nyquist_phase(navigators(truth, is_reversed, fat_rad=1.9), is_reversed)
    assert abs(found.slope_rad_per_pixel - 0.03) < 2e-4
    assert angle_between(found.offset_rad, 0.4) < 5e-3


@pytest.mark.parametrize("order", [(1, 1, 1), (0, 0), (1,), ()])
def test_navigators_of_one_polarity_are_refused(order):
    is_reversed = np.array(order, bool)
    with pytest.raises(UnsupportedScan, match="both polarities"):
        nyquist_phase(np.ones((len(order), 2, 8), np.complex64), is_reversed)


def test_navigators_without_signal_are_refused():
    with pytest.raises(UnsupportedScan, match="no signal"):
        nyquist_phase(np.zeros((3, 2, 8), np.complex64), np.array([True, False, True]))


ALTERNATING = np.arange(N_PE) % 2 == 1


@pytest.mark.parametrize(("slope", "offset"), [(0.04, 0.5), (-0.1, -2.5), (0.0, 1.0)])
def test_a_ghost_is_removed(slope, offset):
    clean = to_kspace(coil_images(), axes=(0,))
    phase = NyquistPhase(slope_rad_per_pixel=slope, offset_rad=offset)
    recorded = to_kspace(delayed(clean, ALTERNATING, phase), axes=(-1,)).astype(np.complex64)
    truth = to_image(to_kspace(clean, axes=(-1,)))
    is_reversed = np.array([True, False, True])
    found = nyquist_phase(navigators(phase, is_reversed, noise=0.001), is_reversed)
    corrected = to_image(correct_nyquist(recorded, ALTERNATING, found))
    assert ghost_level(to_image(recorded)) > 0.1
    assert ghost_level(corrected) < 0.01
    assert np.linalg.norm(corrected - truth) / np.linalg.norm(truth) < 0.01


def test_correction_is_undone_by_the_opposite_one_and_keeps_the_signal_power():
    lines = complex_noise((N_PE, N_COILS, N_RO), seed=3)
    there = NyquistPhase(slope_rad_per_pixel=0.07, offset_rad=1.1)
    back = NyquistPhase(slope_rad_per_pixel=-0.07, offset_rad=-1.1)
    corrected = correct_nyquist(lines, ALTERNATING, there)
    np.testing.assert_allclose(np.linalg.norm(corrected, axis=-1), np.linalg.norm(lines, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(correct_nyquist(corrected, ALTERNATING, back), lines, atol=1e-5)


def test_the_sample_that_flipping_shifts_is_put_right_by_the_navigators():
    """DC was recorded at n // 2 in either direction; flipping leaves it at n // 2 - 1 in the reversed lines."""
    clean = to_kspace(coil_images(), axes=(0, 2)).astype(np.complex64)
    is_reversed = np.array([True, False, True])
    echoes = to_kspace(navigator_profiles(3, 0.3), axes=(-1,)).astype(np.complex64)
    # Recorded backward in time, with DC at the same sample: index n // 2 + k becomes n // 2 - k.
    backward = [np.roll(lines[..., ::-1], 1, axis=-1) for lines in (clean, echoes)]
    recorded = np.where(ALTERNATING[:, None, None], backward[0], clean)
    recorded_echoes = np.where(is_reversed[:, None, None], backward[1], echoes)
    found = nyquist_phase(flip_reversed(recorded_echoes, is_reversed), is_reversed)
    assert abs(found.slope_rad_per_pixel) == pytest.approx(2 * np.pi / N_RO, rel=0.01)
    flipped = flip_reversed(recorded, ALTERNATING)
    assert ghost_level(to_image(flipped)) > 0.2
    corrected = to_image(correct_nyquist(flipped, ALTERNATING, found))
    assert ghost_level(corrected) < 0.01


def test_flipping_turns_reversed_lines_only_and_twice_is_nothing():
    lines = complex_noise((N_PE, N_COILS, N_RO), seed=4)
    flipped = flip_reversed(lines, ALTERNATING)
    np.testing.assert_array_equal(flipped[0], lines[0])
    np.testing.assert_array_equal(flipped[1], lines[1, :, ::-1])
    np.testing.assert_array_equal(flip_reversed(flipped, ALTERNATING), lines)


@pytest.mark.parametrize("amplitude", [0.0, 0.05, 0.3, 1.0])
def test_the_ghost_level_is_the_ghosts_amplitude(amplitude):
    image = np.abs(coil_images()).sum(axis=1).astype(np.float32)
    assert ghost_level(image + np.float32(amplitude) * np.roll(image, N_PE // 2, axis=0)) == pytest.approx(amplitude)
    assert ghost_level(np.zeros_like(image)) == 0


# Measured on this scan, plus a third. The recorded correction takes the navigators' phase point by point: it comes to
# a ghost of 0.139; fat, off-resonant, it puts half the field of view away, so fat is left out of the difference.
HEART_GHOST, HEART_DIFFERENCE = 0.187, 0.039


def test_the_hearts_ghost_goes_as_far_as_the_recorded_correction_takes_it(real_scans):
    lines, echoes, recorded_correction = (
        np.ascontiguousarray(np.load(real_scans / f"kspace/cardiac30_epi_{name}.npy")[0].transpose(1, 0, 2))
        for name in ("raw", "nav", "corrected")
    )
    # Stored flipped already.
    phase = nyquist_phase(echoes, np.array([True, False, True]))
    corrected = to_image(correct_nyquist(lines, np.arange(48) % 2 == 1, phase))
    assert ghost_level(to_image(lines)) > 0.22
    assert ghost_level(corrected) < HEART_GHOST
    liver_and_heart = np.s_[:, 18:88]
    recorded = to_image(recorded_correction)[liver_and_heart]
    assert np.linalg.norm(corrected[liver_and_heart] - recorded) / np.linalg.norm(recorded) < HEART_DIFFERENCE
