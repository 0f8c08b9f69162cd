"""Where the slices of an experiment lie, in the patient's coordinates LPS as in DICOM and ISMRMRD.

`ACQ_grad_matrix` has the directions of readout, phase-encode and slice as rows, for each slice in the order of time:
in ParaVision 5 to 7 in the subject's coordinates (left, up to anterior, head), in ParaVision 360 in the magnet's, with
the subject's position to be applied. Offsets go by the slices' numbers. Axes of an image that is transformed backward
run against the directions of readout and phase-encode, and along that of the slices: so ParaVision's own images lie by
public measurements of them, and so public readers move the field of view. No scan was at hand to check it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from raki.errors import DamagedScan
from raki.formats.bruker.jcampdx import Parameters
from raki.formats.bruker.loops import OfSlices

TOLERANCE = 1e-3
FARTHEST_MM = 1e4
TO_LPS = np.diag([-1.0, -1.0, 1.0])
POSITIONS = {
    "Head_Supine": np.diag([-1.0, 1.0, -1.0]),
    "Head_Prone": np.diag([1.0, -1.0, -1.0]),
    "Foot_Supine": np.eye(3),
    "Foot_Prone": np.diag([-1.0, -1.0, 1.0]),
}
"""From the magnet to the subject, in ParaVision 360; those on the side exchange axes and were never seen."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Of each slice by its number."""

    read: Float64[np.ndarray, "slice xyz"]
    phase: Float64[np.ndarray, "slice xyz"]
    slice: Float64[np.ndarray, "slice xyz"]
    positions_mm: Float64[np.ndarray, "slice xyz"]
    phase_offsets_mm: Float64[np.ndarray, " slice"]
    """How far the field of view is moved from the magnet's centre, which the samples don't have yet."""
    slab_offsets_mm: Float64[np.ndarray, " slice"]
    """Likewise along the partitions of each slab; 0 in 2-D."""
    is_known: bool
    """Whether directions are the patient's."""


def place_slices(acqp: Parameters, method: Parameters, order: OfSlices, n_dimensions: int) -> Placement:
    """Directions and centres of the slices.

    Args:
        order: slices in the order of time.

    Raises:
        DamagedScan: directions that aren't at right angles, or offsets that no scanner has.
    """
    n_slices = len(order)
    matrices = acqp.numbers("ACQ_grad_matrix")
    if matrices.size not in (9, 9 * n_slices):
        raise DamagedScan(
            f"ACQ_grad_matrix holds {matrices.size} numbers for {n_slices} slices; raki needs 9 for each, or for all: "
            "copy acqp again"
        )
    in_time = np.broadcast_to(matrices.reshape(-1, 3, 3), (n_slices, 3, 3))
    # NaN compares as false.
    if not np.allclose(in_time @ in_time.swapaxes(1, 2), np.eye(3), atol=TOLERANCE):
        raise DamagedScan(
            "ACQ_grad_matrix holds directions that aren't at right angles, or not of length 1; copy acqp again"
        )
    directions = in_time[np.argsort(order)]
    to_patient, is_known = TO_LPS, True
    if "360" in acqp.word("ACQ_sw_version"):
        position = acqp.word("ACQ_patient_pos")
        is_known = position in POSITIONS
        to_patient = TO_LPS @ POSITIONS.get(position, np.eye(3))
    read_mm, phase_mm, slice_mm = (
        _offsets(acqp, f"ACQ_{name}_offset", n_slices) for name in ("read", "phase1", "slice")
    )
    if n_dimensions == 3 and "PVM_EffPhase2Offset" in method:
        slice_mm = _offsets(method, "PVM_EffPhase2Offset", n_slices)
    along = np.stack([read_mm, phase_mm, slice_mm], axis=1)
    patient = directions @ to_patient.T
    return Placement(
        read=-patient[:, 0],
        phase=-patient[:, 1],
        slice=patient[:, 2],
        positions_mm=np.einsum("sa,sax->sx", along, patient),
        phase_offsets_mm=phase_mm,
        slab_offsets_mm=slice_mm if n_dimensions == 3 else np.zeros(n_slices),
        is_known=is_known,
    )


def _offsets(parameters: Parameters, name: str, n_slices: int) -> Float64[np.ndarray, " slice"]:
    """By the slices' numbers; one for all, or one for each object, several of a slice."""
    if name not in parameters:
        return np.zeros(n_slices)
    found = parameters.numbers(name)
    if not len(found) or (len(found) != 1 and len(found) % n_slices) or not (np.abs(found) <= FARTHEST_MM).all():
        raise DamagedScan(
            f"{name} holds {len(found)} numbers for {n_slices} slices, or lengths beyond any scanner; copy the list of "
            "parameters again"
        )
    return np.broadcast_to(found, n_slices).copy() if len(found) == 1 else found[:: len(found) // n_slices]
