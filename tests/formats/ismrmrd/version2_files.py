"""Streams of MRD version 2, by its own library."""

import io

import mrd
import numpy as np

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
