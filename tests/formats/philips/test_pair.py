"""A Philips pair gives the image that its `.list` describes, or is refused in one sentence, whatever its bytes."""

import io
from contextlib import suppress
from functools import cache

import ismrmrd
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raki.archive import START_BYTES, open_local, unpack
from raki.errors import DamagedScan, NoiseAlone, NotAScan, PermanentError, UnsupportedScan
from raki.formats import formats, open_raw, open_scan, read_scan
from raki.formats.acquisitions import HEAD, Acquisitions
from raki.formats.philips.pair import PHILIPS_LIST
from raki.formats.sorting.marks import has_flag
from raki.images import reconstruct
from raki.inspection.survey.survey import survey_here
from raki.prepare import preprocess
from raki.scan.prepared import read_prepared, write_prepared
from tests.archive.test_unpacking import tar
from tests.formats.philips.philips_files import Pair as PairFile
from tests.formats.philips.philips_files import (
    axis_information,
    centred,
    centred_range,
    general,
    kspace_of,
    phantom_images,
    scan_2d,
)

ZERO = "0    0    0"


@pytest.fixture(scope="module")
def images():
    return phantom_images(n_slices=2, n_coils=3, matrix=32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scan.list"


def shown(path):
    """Coil images as raki makes them of all that was measured."""
    kspace = preprocess(read_scan(path)).in_memory().kspace
    return centred(np.fft.ifft2, kspace, (-2, -1))


def reconstructed(path, folder, method):
    write_prepared(preprocess(read_scan(path)), folder / "prepared.h5")
    return reconstruct(read_prepared(folder / "prepared.h5"), method=method)


def error(found, truth):
    return np.linalg.norm(found - truth) / np.linalg.norm(truth)


@pytest.mark.parametrize(
    "ranges",
    [
        None,
        ((-32, -1), (-20, 11)),  # moved, by half a field of view and by less
        ((15, -16), (-16, 15)),  # rows from the other end
        ((-16, 15), (20, -11)),  # columns too, and moved
        ((-16, 15), (-32, -1)),
    ],
)
@pytest.mark.parametrize("channels", [None, [27, 3, 12]])
def test_the_image_is_what_the_list_describes(images, path, ranges, channels):
    scan_2d(images, ranges=ranges, channels=channels).write(path)
    order = [0, 1, 2] if channels is None else np.argsort(channels)  # coils in the order of their numbers
    assert error(shown(path), images[:, order]) < 1e-6


def test_oversampling_along_both_is_taken_off(images, tmp_path, path):
    scan_2d(images, oversampling=(1.5, 2.0)).write(path)
    found = reconstructed(path, tmp_path, "zero_filled").images["zero_filled"]
    assert error(np.asarray(found), np.linalg.norm(images, axis=1)) < 1e-5


def test_a_finer_image_than_was_measured_is_shown_as_it_was_measured(images, path):
    """A reconstruction matrix beyond the measured one interpolates; pixels stay square."""
    pair = scan_2d(images, kx=(-24, 23), lines=range(-12, 12)).write(path)
    scan = read_scan(pair)
    assert scan.kspace.shape == (2, 3, 24, 48)
    assert scan.geometry.matrix == (24, 24)
    assert scan.geometry.fov_mm == pytest.approx((32, 32, 1))


def test_undersampled_lines_with_calibration_lines_are_filled(tmp_path, path):
    images = phantom_images(n_slices=1, n_coils=8, matrix=64)
    lines = sorted({*range(-32, 32, 3), *range(-10, 10)})
    random = np.random.default_rng(0)
    noise = random.standard_normal((8, 4000, 2)) @ (1, 1j) * 0.01
    scan_2d(images, lines=lines, noise=noise, noise_level=0.01).write(path)
    truth = np.linalg.norm(images, axis=1)
    filled = reconstructed(path, tmp_path, "grappa")
    aliased = reconstructed(path, tmp_path, "zero_filled")
    assert filled.images["grappa"].shape == truth.shape

    def apart(found):
        found = np.asarray(found)
        return error(found * np.vdot(found, truth) / np.vdot(found, found), truth)

    assert 2.5 * apart(filled.images["grappa"]) < apart(aliased.images["zero_filled"])


def test_noise_is_a_noise_scan_and_longer_ones_come_in_parts(images, path):
    noise = np.random.default_rng(0).standard_normal((3, 70_000, 2)) @ (1, 1j)
    scan_2d(images, noise=noise).write(path)
    with open_raw([path]) as (_, acquisitions):
        is_noise = has_flag(acquisitions.heads, ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        assert acquisitions.heads["number_of_samples"][is_noise].tolist() == [32768, 32768, 4464]
        found = np.concatenate(list(acquisitions.samples(np.flatnonzero(is_noise))), axis=1)
    np.testing.assert_allclose(found, noise, rtol=1e-6)
    np.testing.assert_allclose(read_scan(path).noise, noise, rtol=1e-6)


def test_noise_of_other_coils_is_no_noise_scan(images, path):
    pair = scan_2d(images)
    for channel in (0, 1, 7):
        pair.add("NOI", np.ones(100), chan=channel)
    assert read_scan(pair.write(path)).noise is None


def test_averages_dynamics_echoes_phases_and_extra_attributes(images, path):
    pair = scan_2d(images, averages=2)
    once = [(kind, samples, where) for kind, samples, where in pair.vectors if where["aver"] == 0]
    for changed in ({"dyn": 1}, {"echo": 1}, {"card": 2}, {"extr1": 1}, {"extr2": 3}):
        for kind, samples, where in once:
            pair.add(kind, 2 * samples, **{**where, **changed})
            pair.add(kind, 2 * samples, **{**where, **changed, "aver": 1})
    scan = read_scan(pair.write(path))
    assert [(f.contrast, f.phase, f.repetition, f.set) for f in scan.frames] == [
        (0, 0, 0, 0),
        (0, 0, 0, 1),
        (0, 0, 0, 2),
        (0, 0, 1, 0),
        (0, 2, 0, 0),
        (1, 0, 0, 0),
    ]
    # Averaged: the noise is that of one recording, so the signal is sqrt(2) times as large.
    found = shown(path)
    assert error(found[:2], np.sqrt(2) * images) < 1e-6
    assert error(found[2:4], np.sqrt(8) * images) < 1e-6


def test_rejected_lines_and_navigators_are_left_out_and_said(images, path):
    pair = scan_2d(images)
    for kind in ("REJ", "NAV", "DNA", "REJ"):
        pair.add(kind, 1e6 * np.ones(64), chan=1, ky=3)
    scan = read_scan(pair.write(path))
    assert any("2 of 196 vectors were rejected" in remark for remark in scan.remarks)
    assert sum("navigators" in remark for remark in scan.remarks) == 2
    assert error(shown(path), images) < 1e-6


def test_an_asymmetric_echo_and_half_scan_keep_their_centre(images, path):
    scan_2d(images, kx=(-12, 31), lines=range(-16, 6)).write(path)
    scan = read_scan(path)
    assert scan.echo == (0, 44)  # of 62: raki counts kx from the other side
    acquired = np.flatnonzero(scan.sampled)
    assert acquired[-1] - acquired[0] == 21
    assert scan.sampled.sum() == 22
    whole = scan.in_memory().kspace
    strongest = np.unravel_index(np.abs(whole[0]).sum(axis=0).argmax(), whole.shape[2:])
    assert strongest == (whole.shape[2] // 2, 31)


def test_3_d_by_kz_is_a_slab(tmp_path, path):
    images = phantom_images(n_slices=8, n_coils=3, matrix=24).swapaxes(0, 1)  # coil z y x
    pair = PairFile()
    pair.information |= general(3)
    ranges = (-2, 5), (-12, 11), (-12, 11)  # the slab is moved by two slices
    for letter, n, over, range_ in (("X", 24, 2.0, ranges[2]), ("Y", 24, 1.0, ranges[1]), ("Z", 8, 1.25, ranges[0])):
        pair.information |= axis_information(letter, n, over, range_, centred_range(round(n * over)))
    kspace = kspace_of(images, (10, 24, 48), ranges)
    for kz in range(-5, 5):
        for ky in range(-12, 12):
            for coil in range(3):
                pair.add("STD", kspace[coil, kz, ky, np.arange(-24, 24)], ky=ky, kz=kz, chan=coil)
    found = reconstructed(pair.write(path), tmp_path, "zero_filled").images["zero_filled"]
    truth = np.linalg.norm(images, axis=0)
    assert found.shape == truth.shape
    assert error(np.asarray(found), truth) < 1e-5


def ghost(n_coils, n_x):
    """What a negative gradient does to a profile: a constant and a slope, the same for all coils."""
    return np.exp(1j * (0.7 + 1.5 * (np.arange(n_x) - n_x // 2) / n_x)) * np.ones((n_coils, 1))


def test_epi_is_corrected_by_the_vectors_of_the_scanner(images, path):
    signs = [1 if number % 2 else -1 for number in range(32)]
    phx = ghost(3, 32)
    pair = scan_2d(images, signs=signs, phx=phx, ranges=((-16, 15), (-20, 11)))
    assert error(shown(pair.write(path)), images) < 1e-6
    assert any("PHX" in remark for remark in read_scan(path).remarks)
    without = [vector for vector in pair.vectors if vector[0] != "PHX"]
    pair.vectors = [
        *without,
        *[("PHX", np.ones(32), {"chan": c, "loca": s, "sign": -1}) for c in range(3) for s in (0, 1)],
    ]
    with pytest.raises(DamagedScan, match="PHX vectors, and none of them for a line of coil 0"):
        read_scan(pair.write(path)).in_memory()


def test_the_spectrum_of_the_receiver_is_corrected(images, path):
    frx = np.linspace(0.5, 2, 32)
    pair = scan_2d(images / frx)
    for number in range(2):
        for coil in range(3):
            pair.add("FRX", frx, chan=coil, loca=number, sign=1)
    assert error(shown(pair.write(path)), images) < 1e-6


def test_epi_without_such_vectors_is_corrected_by_its_own_lines(images, path):
    signs = [1 if number % 2 else -1 for number in range(32)]
    pair = scan_2d(images, signs=signs, phx=ghost(3, 32))
    pair.vectors = [vector for vector in pair.vectors if vector[0] != "PHX"]
    scan = read_scan(pair.write(path))
    assert any("ghost" in remark for remark in scan.remarks)
    found = np.linalg.norm(shown(path), axis=1)
    assert error(found, np.linalg.norm(images, axis=1)) < 0.1
    pair.add("PHC", np.ones(64), chan=0)
    with pytest.raises(UnsupportedScan, match="PHX"):
        read_scan(pair.write(path))


def test_an_open_pair_is_acquisitions(images, path):
    with PHILIPS_LIST.open(scan_2d(images).write(path)) as acquisitions:
        assert isinstance(acquisitions, Acquisitions)
        assert acquisitions.heads.dtype == HEAD
        assert acquisitions.heads.shape == (64,)
        first, last = acquisitions.samples(np.array([0, 63]))
        again, *_ = acquisitions.samples(np.array([63]))
    np.testing.assert_array_equal(last, again)
    assert not np.array_equal(first, last)


def test_nothing_is_known_of_where_it_lies(images, path):
    scan_2d(images).write(path)
    assert not read_scan(path).geometry.is_oriented
    survey = survey_here([path])
    assert survey.placement.plane is None
    assert survey.format == "Philips list/data"


def test_a_pair_comes_out_of_an_archive_and_a_folder(images, tmp_path, path):
    text, data = scan_2d(images).content()
    for order in (("x/a.list", text), ("x/a.data", data)), (("x/a.data", data), ("x/a.list", text)):
        found = [file.name for file in unpack(io.BytesIO(tar(*order)), tmp_path, formats=formats())]
        assert found == ["scan.list", "scan.data"]
    found = unpack(io.BytesIO(tar(("RAW.LIST", text), ("RAW.DATA", data))), tmp_path, formats=formats())
    assert [file.name for file in found] == ["scan.list", "scan.data"]
    for list_name, data_name in (("raw_1.list", "raw_1.data"), ("RAW_2.LIST", "RAW_2.DATA")):
        (tmp_path / list_name).write_bytes(text)
        (tmp_path / data_name).write_bytes(data)
        beside = open_local(tmp_path / list_name, tmp_path, formats=formats())
        assert [file.name for file in beside] == [list_name, data_name]
        assert error(shown(beside[0]), images) < 1e-6


def changed(pair, name, value, place=ZERO):
    pair.information[name, place] = value


def without(pair, name):
    pair.information = {key: value for key, value in pair.information.items() if key[0] != name}


def vector(pair, at=5, **attributes):
    kind, samples, where = pair.vectors[at]
    pair.vectors[at] = kind, samples, {**where, **attributes}


REFUSALS = {
    "no kx_range": (lambda p: without(p, "kx_range"), DamagedScan, "'kx_range'"),
    "no matrix": (lambda p: without(p, "X-resolution"), DamagedScan, "'X-resolution'"),
    "a matrix of none": (lambda p: changed(p, "Y-resolution", -5), DamagedScan, "-5 pixels along Y"),
    "a huge matrix": (lambda p: changed(p, "Y-resolution", 99999999), DamagedScan, "1 to 65535 points"),
    "another kx_range": (lambda p: changed(p, "kx_range", "-32 32"), DamagedScan, "kx goes from -32 to 32.*64"),
    "a range without centre": (lambda p: changed(p, "kx_range", "1 64"), DamagedScan, "the centre"),
    "one number of two": (lambda p: changed(p, "kx_range", "-32"), DamagedScan, "1 numbers for 'kx_range'"),
    "an image beyond": (lambda p: changed(p, "X_range", "-60 59"), DamagedScan, "120 pixels along X from.*64"),
    "lines beyond": (
        lambda p: [vector(p, at, ky=40) for at in (3, 4, 5)],
        UnsupportedScan,
        "ky goes from -40 to 16.*32 points",
    ),
    "SENSE": (lambda p: changed(p, "Y-direction SENSE factor", "2.0"), UnsupportedScan, "SENSE .2 along Y"),
    "a spectrum": (lambda p: changed(p, "F-resolution", 1024), UnsupportedScan, "spectroscopy"),
    "one dimension": (lambda p: changed(p, "number_of_encoding_dimensions", 1), UnsupportedScan, "spectroscopy"),
    "no bytes": (lambda p: vector(p, size=0), DamagedScan, "has 0 bytes"),
    "half a sample": (lambda p: vector(p, size=508), DamagedScan, "has 508 bytes"),
    "a negative size": (lambda p: vector(p, size=-512), DamagedScan, "-512 as the size"),
    "a negative offset": (lambda p: vector(p, offset=-8), DamagedScan, "-8 as the offset"),
    "beyond the file": (lambda p: vector(p, offset=10**9), DamagedScan, "1 of 192 vectors lie beyond"),
    "a huge size": (lambda p: vector(p, size=2**40), DamagedScan, "lie beyond"),
    "on another": (lambda p: vector(p, offset=512), DamagedScan, "begins within another"),
    "mixed sizes": (lambda p: vector(p, size=504), DamagedScan, "63 to 64 samples"),
    "a coil less": (lambda p: p.vectors.pop(5), DamagedScan, "has 2 coils, others have 3"),
    "a line twice": (lambda p: vector(p, chan=1), DamagedScan, "of coil 1 is listed twice"),
    "a huge counter": (lambda p: vector(p, dyn=70000), DamagedScan, "70000 as the dyn"),
    "no whole number": (lambda p: vector(p, ky="1.5"), DamagedScan, "something else than whole numbers"),
    "no ASCII": (lambda p: vector(p, ky="é"), DamagedScan, "something else than whole numbers"),
    "a long number": (lambda p: vector(p, ky="1" * 30), DamagedScan, "words"),
    "too many words": (lambda p: vector(p, ky="1 2"), DamagedScan, "22 words.*21 columns"),
    "another type": (lambda p: p.add("XYZ", np.ones(4)), UnsupportedScan, "type 'XYZ'"),
    "images": (lambda p: setattr(p, "names", p.names.replace("ky kz", "y z")), UnsupportedScan, "cpx"),
    "spectra": (lambda p: setattr(p, "names", p.names.replace("n.a.", "kx")), UnsupportedScan, "spectroscopy"),
    "no offsets": (lambda p: setattr(p, "names", p.names.replace("offset", "n.a.")), DamagedScan, "no column offset"),
    "columns twice": (lambda p: setattr(p, "names", p.names.replace("rtop", "ky")), DamagedScan, "column twice"),
    "echoes that differ": (
        lambda p: (
            changed(p, "Y-resolution", 64, "1    0    0"),
            [p.add(kind, samples, **{**where, "mix": 1}) for kind, samples, where in p.vectors[:96]],
        ),
        UnsupportedScan,
        "differ in matrix",
    ),
    "infinite samples": (lambda p: p.vectors[5][1].__setitem__(3, np.inf), DamagedScan, "infinite or undefined"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_wrong_is_one_sentence(name, images, path):
    break_, kind, words = REFUSALS[name]
    pair = scan_2d(images[:1].repeat(2, 0))
    break_(pair)
    with pytest.raises(kind, match=words) as caught:
        read_scan(pair.write(path))
    assert "\n" not in caught.value.sentence
    assert len(caught.value.sentence) < 400


def test_noise_alone_and_nothing(path):
    pair = PairFile(information=general())
    with pytest.raises(NotAScan, match="no vectors"):
        read_scan(pair.write(path))
    pair.add("NOI", np.ones(8), chan=1)
    with pytest.raises(NoiseAlone):
        read_scan(pair.write(path))
    pair.vectors = [("NAV", np.ones(8), {})]
    with pytest.raises(NotAScan, match="no standard vectors"):
        read_scan(pair.write(path))


def test_information_that_contradicts_itself_and_files_cut_short(images, path):
    text, data = scan_2d(images).content()
    path.with_suffix(".data").write_bytes(data)
    for content, words in (
        (text.replace(b"#\n# === START", b".    0    0    0  kx_range  :  -3  4\n# === START"), "'kx_range' twice"),
        (text[: len(text) // 2], "ends within its table|holds"),
        (text[:1000], "before its table"),
        (text.replace(b"# === END OF DATA VECTOR", b"# === END"), "ends within its table"),
        (text[:1000] + b"#" * 5000 + text[1000:], "more than 1024 letters"),
    ):
        path.write_bytes(content)
        with pytest.raises(DamagedScan, match=words):
            read_scan(path)
    path.write_bytes(text)
    path.with_suffix(".data").write_bytes(data[:-8])
    with pytest.raises(DamagedScan, match=f"{len(data) - 8} bytes, and 1 of 192"):
        read_scan(path)
    path.with_suffix(".data").unlink()
    with pytest.raises(DamagedScan, match=r"\.data that belongs to the \.list is missing"):
        read_scan(path)


def test_a_par_file_is_no_list():
    par = b"# === DATA DESCRIPTION FILE ====\n# Research image export tool     V4.2\n# === GENERAL INFORMATION ===\n"
    assert not PHILIPS_LIST.recognises(par + b".    Patient name  :   x\n")
    assert PHILIPS_LIST.recognises(scan_2d(phantom_images(1, 1, 16)).content()[0][:START_BYTES])


@cache
def small_pair():
    return scan_2d(phantom_images(1, 2, 16), lines=range(-4, 4)).content()


@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=3))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_there_is_read_or_refused(path, at, put):
    text, data = small_pair()
    at %= len(text)
    path.write_bytes(text[:at] + put + text[at + len(put) :])
    path.with_suffix(".data").write_bytes(data)
    with suppress(PermanentError), open_scan([path]) as scan:
        scan.in_memory()
