"""A ParaVision experiment gives the image that was acquired where it was planned, or is refused in one sentence."""

import copy
import io
from contextlib import suppress
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raki.archive import START_BYTES, open_local, unpack
from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats import formats, open_raw, open_scan, read_scan
from raki.formats.acquisitions import HEAD, Acquisitions
from raki.formats.bruker.experiment import PARAVISION
from raki.formats.bruker.jcampdx import Parameters
from raki.images import reconstruct
from raki.phantom import phantom_kspace
from raki.prepare import preprocess
from raki.scan.header import parse_header
from raki.scan.prepared import read_prepared, write_prepared
from tests.archive.test_unpacking import tar
from tests.formats.bruker.bruker_files import experiment, jcamp

N = 24
LARGE = 1e6
PHANTOM = phantom_kspace(n_slices=3, n_coils=4, matrix=N, seed=0) * LARGE
"""`slice coil pe ro`, the centre at n // 2."""


def of_phantom(number, echo, other, repetition, step, partition):
    """A different size for each image, so that none is taken for another."""
    size = 1 + 0.1 * echo + 0.2 * other + 0.4 * repetition
    return size * PHANTOM[number, :, step + N // 2]


def scan_of(folder, **changed):
    planned = {"n_receivers": 4, "n_read": N, "steps": list(range(-N // 2, N // 2)), "offsets_mm": stack()}
    return experiment(of_phantom, **planned | changed).write(folder)


def stack(n_slices=3):
    return [(0.0, 0.0, 1.5 * (number - 1)) for number in range(n_slices)]


@pytest.mark.parametrize(
    ("version", "word", "order", "block"),
    [
        ("PV 5.1", "GO_32BIT_SGN_INT", "little", "Standard_KBlock_Format"),
        ("PV 5.1", "GO_32BIT_SGN_INT", "big", "continuous"),
        ("PV-7.0.0", "GO_32BIT_FLOAT", "little", "Standard_KBlock_Format"),
        ("PV-360.3.6", "STORE_32bit_signed", "little", ""),
        ("PV-360.3.6", "STORE_64bit_float", "big", ""),
    ],
)
@pytest.mark.parametrize("in_time", [[0, 1, 2], [0, 2, 1]])
def test_what_was_recorded_comes_back(tmp_path, version, word, order, block, in_time):
    path = scan_of(tmp_path, version=version, word=word, order=order, block=block, in_time=in_time)
    found = read_scan(path).in_memory().kspace
    np.testing.assert_allclose(found, PHANTOM, atol=1.0)


def test_words_of_sixteen_bits(tmp_path):
    integers = np.round(PHANTOM / np.abs(PHANTOM).max() * 32_000)
    path = experiment(
        lambda number, echo, other, repetition, step, partition: integers[number, :, step + N // 2],
        n_receivers=4,
        n_read=N,
        steps=list(range(-N // 2, N // 2)),
        offsets_mm=stack(),
        word="GO_16BIT_SGN_INT",
    ).write(tmp_path)
    np.testing.assert_array_equal(read_scan(path).in_memory().kspace, integers.astype(np.complex64))


@pytest.mark.parametrize("rare", [1, 4])
def test_echoes_repetitions_and_rare_trains_in_any_order_of_lines(tmp_path, rare):
    steps = np.random.default_rng(0).permutation(np.arange(-N // 2, N // 2)).tolist()
    path = scan_of(tmp_path, steps=steps, n_echoes=2, n_repetitions=2, rare=rare, in_time=[2, 0, 1])
    scan = read_scan(path)
    assert [(f.contrast, f.repetition) for f in scan.frames] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    found = scan.in_memory().kspace.reshape(4, *PHANTOM.shape)
    for of_frame, size in zip(found, (1, 1.4, 1.1, 1.5), strict=True):
        np.testing.assert_allclose(of_frame, size * PHANTOM, atol=2.0)


def test_what_else_there_is_of_one_slice_is_frames_and_of_several_refused(tmp_path):
    path = scan_of(tmp_path / "a", offsets_mm=stack(1), n_sets=2, n_echoes=2)
    scan = read_scan(path)
    assert [(f.contrast, f.set) for f in scan.frames] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    found = scan.in_memory().kspace
    for of_frame, size in zip(found, (1, 1.2, 1.1, 1.3), strict=True):
        np.testing.assert_allclose(of_frame, size * PHANTOM[0], atol=2.0)
    with pytest.raises(UnsupportedScan, match="6 objects of 3 slices and 1 echoes"):
        read_scan(scan_of(tmp_path / "b", n_sets=2))


def reconstructed(path, folder, method):
    write_prepared(preprocess(read_scan(path)), folder / "prepared.h5")
    return reconstruct(read_prepared(folder / "prepared.h5"), method=method)


def test_undersampled_lines_with_calibration_lines_are_filled(tmp_path):
    kspace = LARGE * phantom_kspace(n_slices=1, n_coils=8, matrix=64, seed=0)
    steps = sorted({*range(-32, 32, 3), *range(-10, 10)})
    path = experiment(
        lambda number, echo, other, repetition, step, partition: kspace[0, :, step + 32],
        n_receivers=8,
        n_read=64,
        steps=steps,
        offsets_mm=stack(1),
        fov_mm=(40.0, 40.0),
    )
    path.method["PVM_Matrix"] = np.array([64, 64])
    path = path.write(tmp_path)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, (-2, -1)), norm="ortho"), (-2, -1))
    truth = np.linalg.norm(images, axis=1)
    errors = {}
    for method in ("zero_filled", "grappa"):
        found = np.asarray(reconstructed(path, tmp_path, method).images[method])
        assert found.shape == truth.shape
        errors[method] = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    assert 2.5 * errors["grappa"] < errors["zero_filled"]


OBLIQUE = np.linalg.qr(np.random.default_rng(3).standard_normal((3, 3)))[0]
# What the manuals give as the way from read, phase and slice to the patient's left, back and head.
FRAMES = {
    ("PV 6.0.1", "Head_Supine"): np.diag([-1, -1, 1]),
    ("PV 6.0.1", "Head_Prone"): np.diag([-1, -1, 1]),
    ("PV-360.3.6", "Head_Supine"): np.diag([1, -1, -1]),
    ("PV-360.3.6", "Head_Prone"): np.diag([-1, 1, -1]),
}


@pytest.mark.parametrize(("version", "position"), FRAMES)
@pytest.mark.parametrize("matrix", [np.eye(3), OBLIQUE, OBLIQUE @ np.diag([1, 1, -1])])
@pytest.mark.parametrize("offsets_mm", [(0.0, 0.0), (3.0, 4.0), (-2.5, -6.0)])
def test_a_point_is_where_the_gradients_put_it(tmp_path, version, position, matrix, offsets_mm):
    """By the published direction of a forward transform; the receiver follows the read offset, not that of phase."""
    fov_mm, point_mm, n = (40.0, 30.0), (5.0, -3.0), 64
    read_mm, phase_mm = point_mm[0] + offsets_mm[0], point_mm[1] + offsets_mm[1]

    def sampled(number, echo, other, repetition, step, partition):
        k = np.arange(n) - n // 2
        return [LARGE * np.exp(2j * np.pi * (k * (read_mm - offsets_mm[0]) / fov_mm[0] + step * phase_mm / fov_mm[1]))]

    path = experiment(
        sampled,
        n_receivers=1,
        n_read=n,
        steps=list(range(-n // 2, n // 2)),
        offsets_mm=[(*offsets_mm, 7.0), (*offsets_mm, 8.5)],
        gradients=matrix,
        version=version,
        word="STORE_64bit_float" if "360" in version else "GO_32BIT_FLOAT",
        position=position,
        fov_mm=fov_mm,
        in_time=[1, 0],
    ).write(tmp_path)
    scan = preprocess(read_scan(path))
    geometry = scan.geometry
    images = np.abs(np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.in_memory().kspace, (-2, -1))), (-2, -1)))
    for number, image in enumerate(images[:, 0]):
        row, column = np.unravel_index(image.argmax(), image.shape)
        place = np.array(geometry.position_mm) + number * geometry.slice_spacing_mm * np.array(geometry.slice_direction)
        place += (column - n // 2) * fov_mm[0] / n * np.array(geometry.read_direction)
        place += (row - n // 2) * fov_mm[1] / n * np.array(geometry.phase_direction)
        truth = FRAMES[version, position] @ ((read_mm, phase_mm, (7.0, 8.5)[number]) @ matrix)
        np.testing.assert_allclose(place, truth, atol=0.4)
    assert geometry.is_oriented
    assert any("planned" in remark for remark in scan.remarks) == (offsets_mm[1] != 0)


def test_each_slab_is_moved_by_its_own_offset(tmp_path):
    """A point in the middle of either of two slabs, whose samples count from the magnet's centre."""
    n, n_z, offsets_mm = 32, 16, (3.0, 14.0)

    def sampled(number, echo, other, repetition, step, partition):
        turn = np.exp(-2j * np.pi * partition * offsets_mm[number] / n_z)
        return [LARGE * np.full(n, turn * np.exp(-(partition**2) / 8))]

    path = experiment(
        sampled,
        n_receivers=1,
        n_read=n,
        steps=list(range(-n // 2, n // 2)),
        partitions=list(range(-n_z // 2, n_z // 2)),
        offsets_mm=[(0, 0, offset) for offset in offsets_mm],
        fov_mm=(40.0, 30.0, float(n_z)),
        antialias=(1.0, 1.0, 1.0),
        spacing_mm=float(n_z),
    ).write(tmp_path)
    planes = preprocess(read_scan(path)).in_memory().kspace[:, 0]
    along = np.abs(np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(planes[:, n // 2], axes=-1)), axes=-1))
    brightest = along.reshape(2, -1, n_z).sum(axis=1).argmax(axis=-1)
    assert brightest.tolist() == [n_z // 2, n_z // 2]


def test_packages_lie_in_planes_of_their_own_in_whatever_order_they_are_excited(tmp_path):
    planes = np.array([np.eye(3), np.eye(3)[[1, 2, 0]], np.eye(3)[[2, 0, 1]]])
    path = scan_of(tmp_path, gradients=planes, in_time=[2, 0, 1])
    with open_raw([path]) as (_, acquisitions):
        heads = acquisitions.heads
    for number, plane in enumerate(planes @ np.diag([-1, -1, 1])):
        here = heads[heads["idx"]["slice"] == number]
        np.testing.assert_allclose(here["read_dir"], np.broadcast_to(-plane[0], (N, 3)))
        np.testing.assert_allclose(here["phase_dir"], np.broadcast_to(-plane[1], (N, 3)))
        np.testing.assert_allclose(here["position"], np.broadcast_to(1.5 * (number - 1) * plane[2], (N, 3)))


def test_a_position_that_was_never_seen_leaves_the_sides_unknown(tmp_path):
    scan = read_scan(scan_of(tmp_path, version="PV-360.3.6", word="STORE_32bit_signed", position="Head_Left"))
    assert not scan.geometry.is_oriented
    assert any("position" in remark for remark in scan.remarks)


@pytest.mark.parametrize("version", ["PV 6.0.1", "PV-360.3.6"])
@pytest.mark.parametrize("as_table", [False, True])
def test_3_d_is_a_slab_moved_to_where_it_was_planned(tmp_path, version, as_table):
    """One point in a slab: where a backward transform along partitions runs with the slices."""
    n, n_slab, fov_mm, slab_mm = 16, 12, (40.0, 30.0, 24.0), 5.0
    point = np.array([5.0, -5.625, 4.0 + slab_mm])
    noise = np.random.default_rng(0)

    def sampled(number, echo, other, repetition, step, partition):
        k = np.arange(n) - n // 2
        turns = k * point[0] / fov_mm[0] + step * point[1] / fov_mm[1] - partition * point[2] / fov_mm[2]
        decay = np.exp(-((k / n) ** 2 + (step / n) ** 2 + (partition / n_slab) ** 2) * 30)
        return [LARGE * decay * np.exp(2j * np.pi * turns) + noise.standard_normal(n)]

    steps, partitions = list(range(-n // 2, n // 2)), list(range(-n_slab // 2, n_slab // 2))
    made = experiment(
        sampled,
        n_receivers=1,
        n_read=n,
        steps=steps,
        partitions=partitions,
        offsets_mm=[(0, 0, slab_mm)],
        version=version,
        fov_mm=fov_mm,
        antialias=(1.0, 1.0, 1.0),
        word="STORE_64bit_float" if "360" in version else "GO_32BIT_FLOAT",
        position="Head_Supine",
    )
    if as_table:
        made.method["PVM_EncGenSteps1"] = np.tile(steps, len(partitions))
        made.method["PVM_EncGenSteps2"] = np.repeat(partitions, len(steps))
        del made.method["PVM_EncSteps1"]
    result = reconstructed(made.write(tmp_path), tmp_path, "zero_filled")
    image = np.asarray(result.images["zero_filled"])
    geometry = read_prepared(tmp_path / "prepared.h5").geometry
    assert image.shape == (n_slab, n, n)
    number, row, column = np.unravel_index(image.argmax(), image.shape)
    place = np.array(geometry.position_mm) + number * geometry.slice_spacing_mm * np.array(geometry.slice_direction)
    place += (column - n // 2) * fov_mm[0] / n * np.array(geometry.read_direction)
    place += (row - n // 2) * fov_mm[1] / n * np.array(geometry.phase_direction)
    np.testing.assert_allclose(place, FRAMES[version, "Head_Supine"] @ point, atol=0.1)


def test_partial_fourier_and_an_asymmetric_echo_keep_the_centre(tmp_path):
    made = experiment(
        lambda number, echo, other, repetition, step, partition: PHANTOM[number, :, step + N // 2, N // 2 - 4 :],
        n_receivers=4,
        n_read=N // 2 + 4,
        steps=list(range(-5, N // 2)),
        offsets_mm=stack(),
    )
    made.method |= {"PVM_EncPft": np.array([1.5, 1.4]), "PVM_EncPftOverscans": np.array([4, 5])}
    made.method["PVM_Matrix"] = np.array([N, N])
    scan = read_scan(made.write(tmp_path))
    assert scan.kspace.shape == PHANTOM.shape
    assert scan.echo == (N // 2 - 4, N)
    np.testing.assert_array_equal(np.flatnonzero(scan.sampled), np.arange(N // 2 - 5, N))
    found = scan.in_memory().kspace
    np.testing.assert_allclose(found[:, :, 7:, N // 2 - 4 :], PHANTOM[:, :, 7:, N // 2 - 4 :], atol=1.0)


def test_fields_of_view_and_what_the_header_says(tmp_path):
    path = scan_of(tmp_path, antialias=(1.5, 2.0))
    geometry = read_scan(path).geometry
    assert geometry.fov_mm == pytest.approx((40, 30, 1.5))
    assert geometry.matrix[1] == N / 1.5
    assert geometry.phase_oversampling == pytest.approx(2.0)
    assert geometry.slice_spacing_mm == pytest.approx(1.5)
    with open_raw([path]) as (format_, acquisitions):
        assert format_.name == "Bruker ParaVision"
        assert isinstance(acquisitions, Acquisitions)
        assert acquisitions.heads.dtype == HEAD
        assert acquisitions.heads["sample_time_us"][0] == 20
        header = parse_header(acquisitions.header_xml)
    assert header.acquisitionSystemInformation.systemFieldStrength_T == pytest.approx(9.4, rel=1e-3)
    told = header.sequenceParameters
    assert (told.TR, told.TE, told.TI, told.flipAngle_deg) == ([1000.0], [7.5], [], [30.0])


def test_an_experiment_comes_out_of_an_archive_and_a_folder(tmp_path):
    path = scan_of(tmp_path / "5")
    files = {name: (tmp_path / "5" / name).read_bytes() for name in ("fid", "method", "acqp")}
    others = {
        "acqp.out": files["acqp"],
        "visu_pars": jcamp({"VisuVersion": 3}),
        "pdata/1/reco": jcamp({"RECO_mode": 1}),
    }
    for names in (("fid", "method", "acqp"), ("acqp", "fid", "method")):
        into = tmp_path / "-".join(names)
        into.mkdir()
        members = [(f"study/5/{name}", {**files, **others}[name]) for name in (*others, *names)]
        found = unpack(io.BytesIO(tar(*members)), into, formats=formats())
        assert [file.name for file in found] == ["scan.acqp", "scan.fid", "scan.method"]
        np.testing.assert_allclose(read_scan(*found).in_memory().kspace, PHANTOM, atol=1.0)
    for name, content in others.items():
        (tmp_path / "5" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "5" / name).write_bytes(content)
    beside = open_local(tmp_path / "5", tmp_path, formats=formats())
    assert [file.name for file in beside] == ["acqp", "fid", "method"]
    np.testing.assert_allclose(read_scan(path, *beside[1:]).in_memory().kspace, PHANTOM, atol=1.0)


def test_only_acqp_is_taken_for_one(tmp_path):
    assert PARAVISION.recognises(jcamp({"PULPROG": "<FLASH.ppg>"})[:START_BYTES])
    assert not PARAVISION.recognises(jcamp({"Method": "<Bruker:FLASH>"}))
    with pytest.raises(NotAScan, match="pack the folder"):
        unpack(io.BytesIO(jcamp({"Method": "<Bruker:FLASH>"})), tmp_path, formats=formats())


def put(part, **changed):
    return lambda made: getattr(made, part).update(changed)


def drop(part, name):
    return lambda made: getattr(made, part).pop(name)


def shorten(made):
    made.samples = made.samples[:-1]


def lengthen(made):
    made.samples += bytes(8)


REFUSALS = {
    "too few samples": (shorten, DamagedScan, "72 scans of 1024 bytes, 73728 in all; the file of samples has 73727"),
    "too many": (lengthen, DamagedScan, "has 73736"),
    "none": (put("acqp", ACQ_size=np.array([0, 24])), DamagedScan, "has 0 words"),
    "an odd number": (put("acqp", ACQ_size=np.array([47, 24])), DamagedScan, "has 47 words"),
    "a negative number": (put("acqp", ACQ_size=np.array([-48, 24])), DamagedScan, "has -48 words"),
    "a huge number": (put("acqp", ACQ_size=np.array([1e9, 24])), DamagedScan, "has 1000000000 words"),
    "other lines": (put("method", PVM_EncMatrix=np.array([20, 24])), UnsupportedScan, "24 samples .*a line 20"),
    "many receivers": (put("method", PVM_EncNReceivers=10**9), DamagedScan, "PVM_EncNReceivers of method is 1e"),
    "no receivers": (put("method", PVM_EncNReceivers=0), DamagedScan, "from 1 to 1024"),
    "others": (put("method", PVM_EncNReceivers=6), DamagedScan, "72 scans of 2048 bytes"),
    "half a slice": (put("acqp", NSLICES=2.5), DamagedScan, "NSLICES of acqp is 2.5"),
    "too many scans": (put("acqp", NR=10**6), UnsupportedScan, "72000000 scans"),
    "no order": (drop("acqp", "BYTORDA"), UnsupportedScan, "byte order ''"),
    "other words": (put("acqp", GO_raw_data_format="GO_24BIT"), UnsupportedScan, "'GO_24BIT'"),
    "real samples": (put("acqp", AQ_mod="qf"), UnsupportedScan, "quadrature"),
    "no steps": (drop("method", "PVM_EncSteps1"), DamagedScan, "lacks PVM_EncSteps1"),
    "no matrix": (drop("method", "PVM_EncMatrix"), DamagedScan, "lacks PVM_EncMatrix"),
    "no field of view": (drop("method", "PVM_Fov"), DamagedScan, "lacks PVM_Fov"),
    "a field of view of none": (put("method", PVM_Fov=np.array([0, 30])), DamagedScan, "field of view is 0 x 30"),
    "one length": (put("method", PVM_Fov=np.array([40])), DamagedScan, "fewer numbers than the 2"),
    "less encoded than shown": (put("method", PVM_AntiAlias=np.array([0.5, 1])), DamagedScan, "no less encoded"),
    "half steps": (put("method", PVM_EncSteps1=np.arange(24) / 2), DamagedScan, "something else than whole numbers"),
    "huge steps": (put("method", PVM_EncSteps1=np.arange(24) * 10**6), DamagedScan, "up to 32767"),
    "no group": (put("acqp", ACQ_phase_factor=7), DamagedScan, "24 phase-encode steps are no multiple of the 7"),
    "objects twice": (put("acqp", ACQ_obj_order=np.array([0, 1, 1])), DamagedScan, "each of 3 objects once"),
    "other orders": (put("acqp", ACQ_obj_order=np.array([0, 2, 1])), DamagedScan, "in different orders"),
    "no directions": (drop("acqp", "ACQ_grad_matrix"), DamagedScan, "lacks ACQ_grad_matrix"),
    "two directions": (put("acqp", ACQ_grad_matrix=np.eye(3)[:2]), DamagedScan, "6 numbers for 3 slices"),
    "long directions": (put("acqp", ACQ_grad_matrix=2 * np.eye(3)), DamagedScan, "right angles"),
    "far away": (put("acqp", ACQ_slice_offset=np.array([0, 1, 1e9])), DamagedScan, "beyond any scanner"),
    "two offsets": (put("acqp", ACQ_slice_offset=np.array([0, 1])), DamagedScan, "2 numbers for 3 slices"),
    "an echo nowhere": (
        put("method", PVM_EncPft=np.array([1.5, 1]), PVM_EncPftOverscans=np.array([99, 0])),
        DamagedScan,
        "where its centre is",
    ),
    "a spectrum": (put("acqp", ACQ_dim_desc=["Spectroscopic", "Spatial"]), UnsupportedScan, "spectrum"),
    "one dimension": (put("acqp", ACQ_dim=1), UnsupportedScan, "1 dimensions"),
    "projections": (put("method", NPro=400), UnsupportedScan, "trajectory"),
    "gated afterwards": (put("method", SelfGating="Yes"), UnsupportedScan, "gated"),
    "a train in one scan": (
        put("acqp", ACQ_scan_size="ACQ_phase_factor_scans", ACQ_phase_factor=4),
        UnsupportedScan,
        "ACQ_scan_size",
    ),
    **{
        name: (put("method", Method=f"<Bruker:{name}>"), UnsupportedScan, words)
        for name, words in {
            "EPI": "EPI",
            "DtiEpi": "EPI",
            "SPIRAL": "spiral",
            "UTE3D": "radial",
            "ZTE": "radial",
            "PRESS": "spectroscopy",
            "CSI": "spectroscopic imaging",
            "IgFLASH_IntraGate": "gated",
        }.items()
    },
    "a run without end": (put("acqp", ACQ_grad_matrix="( 9 )\n@999999999*(0)"), DamagedScan, "holds more"),
    "a run within another": (put("acqp", ACQ_grad_matrix="( 9 )\n@3*(@3*(0))"), DamagedScan, "isn't a list of numbers"),
    "huge lengths": (
        put("acqp", ACQ_grad_matrix="( 99999999, 99999999 )\n0"),
        DamagedScan,
        "announces 9999999800000001 numbers",
    ),
    "fewer than announced": (put("acqp", ACQ_grad_matrix="( 27 )\n@9*(1)"), DamagedScan, "27 numbers and holds 9"),
    "words": (put("acqp", ACQ_grad_matrix="( 2 )\none two"), DamagedScan, "isn't a list of numbers"),
    "undefined": (put("acqp", ACQ_grad_matrix="( 2 )\nnan inf"), DamagedScan, "isn't a list of numbers"),
    "no ASCII": (put("acqp", NR="σ²"), DamagedScan, "isn't a list of numbers"),
    "twice": (put("acqp", NR="1\n##$NR=2"), DamagedScan, "NR of acqp stands there twice"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_is_wrong_is_one_sentence(name, tmp_path):
    break_, kind, words = REFUSALS[name]
    made = copy.deepcopy(sound())
    break_(made)
    with pytest.raises(kind, match=words) as caught:
        read_scan(made.write(tmp_path))
    assert "\n" not in caught.value.sentence
    assert len(caught.value.sentence) < 400


@cache
def sound():
    return experiment(of_phantom, n_receivers=4, n_read=N, steps=list(range(-N // 2, N // 2)), offsets_mm=stack())


@pytest.mark.parametrize(
    ("version", "left_out", "words"),
    [
        ("PV 6.0.1", "fid", "neither fid nor rawdata.job0.*zip or tar"),
        ("PV-360.3.6", "rawdata.job0", "neither fid nor rawdata.job0"),
        ("PV 6.0.1", "method", "no method.*zip or tar"),
    ],
)
def test_a_file_that_is_missing_is_named(version, left_out, words, tmp_path):
    path = scan_of(tmp_path, version=version, word="STORE_32bit_signed" if "360" in version else "GO_32BIT_SGN_INT")
    (tmp_path / left_out).unlink()
    with pytest.raises(DamagedScan, match=words):
        read_scan(path)


def test_jobs_that_make_no_sense(tmp_path):
    made = copy.deepcopy(sound())
    made.name = "rawdata.job0"
    with pytest.raises(DamagedScan, match="has 0 words"):
        read_scan(made.write(tmp_path))
    for text in ("( 1 )\n(x, 1)", "( 1 )\n((48, 1), 2)", "()", "( 1 )\n@3*((48, 1))", "( 1 )\n(<48>, 1)" + "(" * 9999):
        made.acqp["ACQ_jobs"] = text
        with suppress(DamagedScan):
            read_scan(made.write(tmp_path))


def test_a_list_cut_short_has_no_end(tmp_path):
    path = sound().write(tmp_path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DamagedScan, match="acqp has no end"):
        read_scan(path)


def test_lists_of_parameters(tmp_path):
    path = tmp_path / "list"
    path.write_text(
        "##TITLE=x\n$$ comment ##$Not=1\n##$One=1\n##$Few=( 2, 3 )\n1 2 3 \n$$ @vis= Few\n4 -5e-3 .5\n"
        "##$Runs=( 6 )\n@3*(7) 1 @2*(0)\n##$Text=( 65 )\n<a (b, c) <d>\n##$Wrapped=( 2, 9 )\n<T2 \nTime> <x>\n"
        "##$Enum=( 3 )\nYes No @1*(Yes)\n##$Struct=( 1 )\n(4, <a, (b)>, (1, 2), <job0>)\n##$Bare=<Bruker:FLASH>\n"
        "##END=\n"
    )
    found = Parameters(path, "list")
    assert "Not" not in found
    assert found.number("One") == 1
    assert found.numbers("Few").tolist() == [1, 2, 3, 4, -0.005, 0.5]
    assert found.numbers("Runs").tolist() == [7, 7, 7, 1, 0, 0]
    assert found.words("Wrapped") == ["T2 Time", "x"]
    assert found.words("Enum") == ["Yes", "No", "Yes"]
    assert found.structure("Struct") == ["4", "a, (b)", "(1, 2)", "job0"]
    assert found.word("Bare") == "Bruker:FLASH"
    assert found.word("Missing", "x") == "x"


@given(st.integers(0, 1), st.integers(0, 10**6), st.binary(min_size=1, max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_stands_there_is_read_or_refused(tmp_path, which, at, written):
    made = sound()
    path = made.write(tmp_path)
    file = (path, tmp_path / "method")[which]
    content = file.read_bytes()
    at %= len(content)
    file.write_bytes(content[:at] + written + content[at + len(written) :])
    with suppress(PermanentError), open_scan([path]) as scan:
        scan.in_memory()
