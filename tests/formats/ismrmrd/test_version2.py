"""A stream of MRD version 2, written by its own library, is read as the same scan in ISMRMRD is, or refused."""

import io
from contextlib import suppress

import ismrmrd
import mrd
import numpy as np
import pytest
from ismrmrd import xsd

from raki.archive import START_BYTES
from raki.errors import DamagedScan, NotAScan, PermanentError, UnsupportedScan
from raki.formats import open_raw
from raki.formats.ismrmrd.hdf5 import ISMRMRD_HDF5
from raki.formats.ismrmrd.version2 import MRD2, looks_like_version2
from raki.formats.scan_reader import sorted_scan
from raki.inspection.inspection import inspect
from raki.scan.header import parse_header

COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
)


def header_of(theirs):
    """What the library's writer asks for, of the phantom's header, field by field."""
    space = theirs.encoding[0]

    def as_space(each):
        size, fov = each.matrixSize, each.fieldOfView_mm
        return mrd.EncodingSpaceType(
            matrix_size=mrd.MatrixSizeType(x=size.x, y=size.y, z=size.z),
            field_of_view_mm=mrd.FieldOfViewMm(x=fov.x, y=fov.y, z=fov.z),
        )

    def as_limit(each):
        return mrd.LimitType(minimum=each.minimum, maximum=each.maximum, center=each.center)

    factor = space.parallelImaging.accelerationFactor
    return mrd.Header(
        subject_information=mrd.SubjectInformationType(patient_name="Doe^Jane"),
        measurement_information=mrd.MeasurementInformationType(
            patient_position=mrd.PatientPosition.H_FS, protocol_name="t1"
        ),
        acquisition_system_information=mrd.AcquisitionSystemInformationType(
            system_vendor="SIEMENS", system_field_strength_t=3.0, relative_receiver_noise_bandwidth=0.79
        ),
        experimental_conditions=mrd.ExperimentalConditionsType(h1resonance_frequency_hz=123_200_000),
        encoding=[
            mrd.EncodingType(
                encoded_space=as_space(space.encodedSpace),
                recon_space=as_space(space.reconSpace),
                encoding_limits=mrd.EncodingLimitsType(
                    kspace_encoding_step_1=as_limit(space.encodingLimits.kspace_encoding_step_1),
                    slice=as_limit(space.encodingLimits.slice),
                ),
                trajectory=mrd.Trajectory.CARTESIAN,
                parallel_imaging=mrd.ParallelImagingType(
                    acceleration_factor=mrd.AccelerationFactorType(
                        kspace_encoding_step_1=factor.kspace_encoding_step_1,
                        kspace_encoding_step_2=factor.kspace_encoding_step_2,
                    ),
                    calibration_mode=mrd.CalibrationMode.EMBEDDED,
                ),
            )
        ],
        sequence_parameters=mrd.SequenceParametersType(t_r=[250.0], t_e=[4.6], flip_angle_deg=[70.0]),
    )


def item_of(acquisition):
    idx = acquisition.idx
    return mrd.StreamItem.Acquisition(
        mrd.Acquisition(
            head=mrd.AcquisitionHeader(
                flags=mrd.AcquisitionFlags(acquisition.flags),
                idx=mrd.EncodingCounters(**{name: getattr(idx, name) for name in COUNTERS}),
                center_sample=acquisition.center_sample,
                discard_pre=acquisition.discard_pre,
                discard_post=acquisition.discard_post,
                sample_time_us=acquisition.sample_time_us,
                position=np.array(list(acquisition.position), np.float32),
                read_dir=np.array(list(acquisition.read_dir), np.float32),
                phase_dir=np.array(list(acquisition.phase_dir), np.float32),
                slice_dir=np.array(list(acquisition.slice_dir), np.float32),
                patient_table_position=np.zeros(3, np.float32),
            ),
            data=np.ascontiguousarray(acquisition.data),
        )
    )


def written(header, items):
    stream = io.BytesIO()
    stream.close = lambda: None  # the writer closes what it writes to
    with mrd.BinaryMrdWriter(stream) as writer:
        writer.write_header(header)
        writer.write_data(items)
    return stream.getvalue()


@pytest.fixture(scope="module")
def parts(raw):
    with ismrmrd.Dataset(raw, mode="r") as dataset:
        found = [dataset.read_acquisition(index) for index in range(dataset.number_of_acquisitions())]
        return header_of(parse_header(dataset.read_xml_header().decode())), [item_of(each) for each in found]


@pytest.fixture(scope="module")
def content(parts):
    return written(*parts)


@pytest.fixture
def stored(tmp_path):
    def write(content):
        path = tmp_path / "Doe^Jane.bin"
        path.write_bytes(content)
        return path

    return write


def test_the_scan_is_the_same_as_in_ismrmrd(raw, content, stored):
    with MRD2.open(stored(content)) as found, ISMRMRD_HDF5.open(raw) as expected:
        ours, theirs = sorted_scan(found).in_memory(), sorted_scan(expected).in_memory()
    np.testing.assert_array_equal(ours.kspace, theirs.kspace)
    np.testing.assert_array_equal(ours.noise, theirs.noise)
    np.testing.assert_array_equal(ours.sampled, theirs.sampled)
    assert ours.geometry == theirs.geometry
    assert ours.noise_dwell_ratio == theirs.noise_dwell_ratio


def test_it_is_found_by_its_content(content, stored):
    with open_raw([stored(content)]) as (found, _):
        assert found is MRD2
    assert looks_like_version2(content[:START_BYTES])
    assert not looks_like_version2(b"yardl" + bytes(100))


def test_the_header_has_the_same_values(content, stored):
    with MRD2.open(stored(content)) as found:
        header = parse_header(found.header_xml)
    assert header.sequenceParameters.TR == [250.0]
    assert header.measurementInformation.protocolName == "t1"
    assert header.acquisitionSystemInformation.systemFieldStrength_T == pytest.approx(3.0)
    assert header.encoding[0].trajectory is xsd.trajectoryType.CARTESIAN
    assert header.encoding[0].parallelImaging.calibrationMode is xsd.calibrationModeType.EMBEDDED


def test_it_is_read_within_the_walls_around_a_strangers_file(content, stored):
    assert inspect([stored(content)], device="cpu").kind.startswith("Cartesian 2-D")


def test_a_stream_that_breaks_off_gives_what_it_has_and_says_so(parts, content, stored):
    with MRD2.open(stored(content[: len(content) * 3 // 4])) as found:
        assert 0 < len(found.heads) < len(parts[1])
        assert "breaks off after" in found.remarks[0]
        assert found.cut_from == 1


@pytest.mark.parametrize("end", [0.0001, 0.01, 0.05])
def test_a_stream_without_an_acquisition_is_refused(content, stored, end):
    with pytest.raises(PermanentError), MRD2.open(stored(content[: int(len(content) * end)])):
        pass


def test_another_schema_is_refused_by_name(content, stored):
    with (
        pytest.raises(UnsupportedScan, match="another version of the schema"),
        MRD2.open(stored(content.replace(b"discardPre", b"discardPro"))),
    ):
        pass


def test_images_are_no_raw_data(parts, stored):
    image = mrd.StreamItem.ArrayComplexFloat(np.zeros((2, 2), np.complex64))
    with (
        pytest.raises(NotAScan, match="holds 1 items and no acquisitions"),
        MRD2.open(stored(written(parts[0], [image]))),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("discard_pre", 200_000, "has 200000 as its discard_pre"),
        ("discard_pre", 200, "discards more than its 64 samples"),
        ("encoding_space_ref", 70_000, "has 70000 as its encoding_space_ref"),
    ],
)
def test_numbers_that_dont_fit_are_named(parts, stored, name, value, said):
    header, items = parts
    last = items[-1].value
    before = getattr(last.head, name)
    setattr(last.head, name, value)
    try:
        broken = written(header, items)
    finally:
        setattr(last.head, name, before)
    with pytest.raises(DamagedScan, match=said), MRD2.open(stored(broken)):
        pass


def test_bytes_that_are_overwritten_are_an_error_of_ours_or_a_scan(content, stored):
    random = np.random.default_rng(0)
    start = content.index(b"t1")
    for _ in range(60):
        broken = bytearray(content)
        for at in random.integers(start, len(content), 3):
            broken[at] = int(random.integers(256))
        with suppress(PermanentError), MRD2.open(stored(bytes(broken))) as found:
            sorted_scan(found).in_memory()
