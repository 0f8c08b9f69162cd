"""Siemens scan headers as ISMRMRD heads.

Which mark becomes which flag, and how the noise was sampled, follows the converter siemens_to_ismrmrd
(https://github.com/ismrmrd/siemens_to_ismrmrd) but for one mark: RAWDATACORRECTION says that each coil is to be
multiplied by its own constant, which is the same for all lines and vanishes in the coil's sensitivity; the converter
takes such lines for surface coil correction scans, and whole images with it.
"""

import ismrmrd
import numpy as np
from jaxtyping import Bool, Float, UInt64

from raki.formats.acquisitions import HEAD
from raki.formats.twix.protocol import Protocol

LONGEST_DWELL_NS = 1e9
NOISE, CALIBRATION, CALIBRATION_AND_IMAGE = 25, 22, 23
FLAGS = (
    (1, ismrmrd.ACQ_IS_NAVIGATION_DATA),  # RTFEEDBACK
    (1, ismrmrd.ACQ_IS_RTFEEDBACK_DATA),
    (2, ismrmrd.ACQ_IS_HPFEEDBACK_DATA),
    (11, ismrmrd.ACQ_LAST_IN_REPETITION),  # LASTSCANINMEAS
    (11, ismrmrd.ACQ_LAST_IN_MEASUREMENT),
    (14, ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE),
    (15, ismrmrd.ACQ_IS_PHASE_STABILIZATION),
    (21, ismrmrd.ACQ_IS_PHASECORR_DATA),
    (CALIBRATION, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION),  # PATREFSCAN
    (CALIBRATION_AND_IMAGE, ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING),  # PATREFANDIMASCAN
    (24, ismrmrd.ACQ_IS_REVERSE),  # REFLECT
    (NOISE, ismrmrd.ACQ_IS_NOISE_MEASUREMENT),  # NOISEADJSCAN
    (28, ismrmrd.ACQ_FIRST_IN_SLICE),
    (29, ismrmrd.ACQ_LAST_IN_SLICE),
    (35, ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA),  # CT_NORMALIZE
    (39, ismrmrd.ACQ_IS_PHASECORR_DATA),  # SLICE_ACCEL_PHASCOR
    (46, ismrmrd.ACQ_LAST_IN_MEASUREMENT),  # RETRO_ENDOFMEAS
    (51, ismrmrd.ACQ_IS_DUMMYSCAN_DATA),  # RETRO_DUMMYSCAN
)
COUNTERS = {
    "kspace_encode_step_1": "line",
    "kspace_encode_step_2": "partition",
    "average": "average",
    "slice": "slice",
    "contrast": "echo",
    "phase": "phase",
    "repetition": "repetition",
    "set": "set",
    "segment": "segment",
}
# Where the converter keeps them, and programs that read its files look for them.
CENTRE_LINE, CENTRE_PARTITION = 5, 6  # of idx.user


def to_heads(headers: np.ndarray, protocol: Protocol, *, is_vb: bool) -> np.ndarray:
    """One ISMRMRD head for each scan header.

    Positions are in mm in Siemens' patient coordinates (sagittal, coronal, transversal), which grow to the left, to
    the back and to the head: DICOM's and ISMRMRD's LPS.
    """
    heads = np.zeros(len(headers), HEAD)
    heads["version"] = 1
    heads["flags"] = _flags(headers["mask"])
    heads["measurement_uid"] = headers["measurement"]
    heads["scan_counter"] = headers["counter"]
    heads["acquisition_time_stamp"] = headers["time"]
    heads["physiology_time_stamp"][:, 0] = headers["pmu_time"]
    heads["number_of_samples"] = headers["n_samples"]
    heads["active_channels"] = headers["n_channels"]
    heads["available_channels"] = headers["n_channels"].max(initial=0)
    heads["discard_pre"], heads["discard_post"] = headers["cut_pre"], headers["cut_post"]
    heads["center_sample"] = headers["centre_sample"]
    heads["sample_time_us"] = _sample_times_us(headers, protocol, is_vb=is_vb)
    heads["position"] = headers["position"]
    heads["phase_dir"], heads["read_dir"], heads["slice_dir"] = directions(headers["quaternion"])
    if not is_vb:
        heads["patient_table_position"] = headers["table"] / 1000  # from um to mm
    for name, counter in COUNTERS.items():
        heads["idx"][name] = headers[counter]
    heads["idx"]["user"][:, :5] = headers["ice_counters"]
    heads["idx"]["user"][:, CENTRE_LINE] = headers["centre_line"]
    heads["idx"]["user"][:, CENTRE_PARTITION] = headers["centre_partition"]
    n_parameters = min(headers["ice"].shape[1], 7)
    heads["user_int"][:, :n_parameters] = headers["ice"][:, :n_parameters]
    heads["user_int"][:, 7] = headers["time_since_pulse"].view(np.int32)
    return heads


def directions(quaternions: Float[np.ndarray, "line 4"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Phase, read and slice directions as unit vectors, from quaternions in the order w, x, y, z.

    They are the columns of the rotation matrix; phase x read = slice. Where the quaternion is zero or undefined the
    directions are those of an unrotated frame, or undefined as well.
    """
    with np.errstate(invalid="ignore"):
        rotations = quaternions.astype(np.float64)
        norms = np.linalg.norm(rotations, axis=1, keepdims=True)
        w, x, y, z = (rotations / np.where(norms == 0, 1, norms)).T
    phase = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)], axis=1)
    read = np.stack([2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)], axis=1)
    normal = np.stack([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], axis=1)
    return phase, read, normal


def has_mark(headers: np.ndarray, bit: int) -> Bool[np.ndarray, " line"]:
    """Which scan headers carry a mark of the evaluation mask."""
    return (headers["mask"] >> np.uint64(bit)) & np.uint64(1) > 0


def _flags(masks: UInt64[np.ndarray, " line"]) -> UInt64[np.ndarray, " line"]:
    bit_one = np.uint64(1)
    # A line that is both image and reference carries both marks of Siemens, but only bit_one flag of ISMRMRD.
    both = (masks >> np.uint64(CALIBRATION_AND_IMAGE)) & bit_one > 0
    masks = np.where(both, masks & ~(bit_one << np.uint64(CALIBRATION)), masks)
    flags = np.zeros(len(masks), np.uint64)
    for bit, flag in FLAGS:
        flags |= ((masks >> np.uint64(bit)) & bit_one) << np.uint64(flag - 1)
    return flags


def _sample_times_us(headers: np.ndarray, protocol: Protocol, *, is_vb: bool) -> np.ndarray:
    """How long a sample of each line took, in us; 0 where the protocol doesn't tell.

    `alDwellTime` counts ns for a sample as it was recorded, oversampling included: the ADC of an EPI readout is open
    for alDwellTime times the recorded samples. Each echo has its own. Noise lines are sampled at the scanner's own
    rate, which stands nowhere in the file; the numbers are those of siemens_to_ismrmrd.
    """
    found = protocol.numbers("sRXSPEC.alDwellTime")
    dwell_ns = [time if 0 < time < LONGEST_DWELL_NS else 0.0 for time in found] or [0.0]
    of_echo = np.array([time or dwell_ns[0] for time in dwell_ns])
    echoes = headers["echo"].astype(int)
    image_us = of_echo[np.where(echoes < len(of_echo), echoes, 0)] / 1000
    return np.where(has_mark(headers, NOISE), _noise_sample_us(headers["n_samples"], protocol, is_vb=is_vb), image_us)


def _noise_sample_us(n_samples: np.ndarray, protocol: Protocol, *, is_vb: bool) -> np.ndarray:
    software = protocol.derived_word("SoftwareVersions") or ""
    name = protocol.word("tProtocolName") or protocol.derived_word("tProtocolName") or ""
    if "syngo MR XA" in software or name == "AdjCoilSens":
        return np.full(len(n_samples), 5.0)
    if name == "AdjQuietCoilSens":
        return np.full(len(n_samples), 4.0)
    if is_vb:
        return 1e6 / 130.0 / n_samples  # 130 Hz per sample
    return np.floor(76800.0 / n_samples) / 10.0
