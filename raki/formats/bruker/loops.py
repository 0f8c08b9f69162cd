"""What each scan of an experiment is: ParaVision's loops, from the innermost to the outermost.

Scans that belong to one image (`ACQ_phase_factor`, the echoes of RARE), objects (slices, each with its echoes), groups
of phase-encode steps, partitions, repetitions. Steps are counted from the centre of k-space, in the order of time.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.bruker.jcampdx import Parameters

MOST_SCANS = 1 << 22
LARGEST_STEP = 32767
NOT_IMAGES = {
    "SPIRAL": "spiral",
    "UTE": "radial (UTE)",
    "ZTE": "radial (ZTE)",
    "RADIAL": "radial",
    "PROPELLER": "PROPELLER",
    "EPSI": "echo-planar spectroscopy",
    "EPI": "EPI, whose echoes stand in one scan and lie on the gradient's ramps",
    "CSI": "spectroscopic imaging",
    **dict.fromkeys(
        ("PRESS", "STEAM", "ISIS", "NSPECT", "SINGLEPULSE", "LASER", "CPMG", "RFPROFILE"), "spectroscopy, or a profile"
    ),
}

OfScans = Int[np.ndarray, " scan"]
OfSlices = Int[np.ndarray, " slice"]
Whole = Int[np.ndarray, " _"]


@dataclass(frozen=True, kw_only=True)
class Scans:
    """The counters of each scan, in the order of the file."""

    lines: OfScans
    partitions: OfScans
    """Both from the centre of k-space."""
    slices: OfScans
    echoes: OfScans
    sets: OfScans
    repetitions: OfScans
    order: OfSlices
    """Slices in the order in which they are excited."""


def require_images(acqp: Parameters, method: Parameters) -> int:
    """The number of dimensions that are encoded; raises UnsupportedScan unless these are 2 or 3 of an image."""
    name = (method.word("Method") or acqp.word("ACQ_method")).rpartition(":")[2]
    for part, what in NOT_IMAGES.items():
        if part in name.upper():
            raise UnsupportedScan(f"the method is {name[:40]}: {what}; raki reads Cartesian lines, one in each scan")
    if "Spectroscopic" in acqp.words("ACQ_dim_desc"):
        raise UnsupportedScan(f"the method {name[:40]} encodes a spectrum; raki reconstructs images")
    if method.word("SelfGating") == "Yes" or "INTRAGATE" in name.upper():
        raise UnsupportedScan(f"the method is {name[:40]}, gated afterwards; raki needs lines that are in order")
    if method.number("NPro", 0) > 0 or "PVM_TrajSamples" in method:
        raise UnsupportedScan(f"the method {name[:40]} follows a trajectory of its own; raki reads Cartesian lines")
    if acqp.word("ACQ_scan_size") == "ACQ_phase_factor_scans" and acqp.count("ACQ_phase_factor", 1) > 1:
        raise UnsupportedScan("several lines stand in one scan (ACQ_scan_size), as in EPI; raki reads one in each")
    n_dimensions = acqp.count("ACQ_dim", least=0)
    if n_dimensions not in (2, 3):
        raise UnsupportedScan(f"{n_dimensions} dimensions are encoded; raki reconstructs images, in 2-D and 3-D")
    return n_dimensions


def count_scans(acqp: Parameters, method: Parameters, n_dimensions: int) -> Scans:
    """What each scan is.

    Raises:
        DamagedScan: parameters contradict each other.
        UnsupportedScan: loops whose order isn't public, or too many scans.
    """
    lines, partitions = _steps(method, n_dimensions)
    n_inner = acqp.count("ACQ_phase_factor", 1)
    n_objects, n_repetitions = acqp.count("NI", 1), acqp.count("NR", 1)
    if len(lines) % n_inner:
        raise DamagedScan(
            f"{len(lines)} phase-encode steps are no multiple of the {n_inner} that follow each other "
            "(ACQ_phase_factor); copy method and acqp again"
        )
    n_scans = len(lines) * n_objects * n_repetitions
    if n_scans > MOST_SCANS:
        raise UnsupportedScan(f"the experiment has {n_scans} scans; raki takes {MOST_SCANS} at most: split it")
    slices, echoes, sets, order = _objects(acqp, method, n_objects)
    shape = n_repetitions, len(lines) // n_inner, n_objects, n_inner
    repetition, group, number, inner = np.unravel_index(np.arange(n_scans), shape)
    step = group * n_inner + inner
    return Scans(
        lines=lines[step],
        partitions=partitions[step],
        slices=slices[number],
        echoes=echoes[number],
        sets=sets[number],
        repetitions=repetition.astype(np.int64),
        order=order,
    )


def _steps(method: Parameters, n_dimensions: int) -> tuple[Whole, Whole]:
    """Line and partition of each step of one image."""
    if n_dimensions == 3 and "PVM_EncGenSteps1" in method and "PVM_EncGenSteps2" in method:
        lines, partitions = _whole(method, "PVM_EncGenSteps1"), _whole(method, "PVM_EncGenSteps2")
        if len(lines) == len(partitions) > 1:
            return lines, partitions
    lines = _whole(method, "PVM_EncSteps1")
    partitions = _whole(method, "PVM_EncSteps2") if n_dimensions == 3 else np.zeros(1, np.int64)
    return np.tile(lines, len(partitions)), np.repeat(partitions, len(lines))


def _whole(parameters: Parameters, name: str) -> Whole:
    numbers = parameters.numbers(name)
    if not len(numbers) or not (np.abs(numbers) <= LARGEST_STEP).all() or (numbers != np.round(numbers)).any():
        raise DamagedScan(
            f"{name} holds something else than whole numbers up to {LARGEST_STEP}; copy the list of parameters again"
        )
    return numbers.astype(np.int64)


def _objects(acqp: Parameters, method: Parameters, n_objects: int) -> tuple[Whole, Whole, Whole, Whole]:
    """Slice, echo and set of each object in the order of time, and the order of slices.

    Echoes of a slice follow each other. What else there may be of objects (movies, diffusion) is told apart only where
    there is one slice.
    """
    n_slices, n_echoes = acqp.count("NSLICES", 1), acqp.count("ACQ_n_echo_images", 1)
    in_time = _whole(acqp, "ACQ_obj_order") if "ACQ_obj_order" in acqp else np.arange(n_objects)
    if sorted(in_time.tolist()) != list(range(n_objects)):
        raise DamagedScan(f"ACQ_obj_order doesn't name each of {n_objects} objects once; copy acqp again")
    if n_objects != n_slices * n_echoes and n_slices > 1:
        raise UnsupportedScan(
            f"there are {n_objects} objects of {n_slices} slices and {n_echoes} echoes; which of them is which "
            "(movies, diffusion) isn't public: raki takes several slices with echoes alone, or one slice"
        )
    slices = in_time // n_echoes if n_slices > 1 else np.zeros(n_objects, np.int64)
    echoes = in_time % n_echoes
    sets = np.zeros(n_objects, np.int64) if n_slices > 1 else in_time // n_echoes
    order = slices[::n_echoes] if n_slices > 1 else np.zeros(1, np.int64)
    if (slices != np.repeat(order, n_objects // len(order))).any():
        raise UnsupportedScan("the echoes of a slice don't follow each other (ACQ_obj_order); raki reads them so")
    told = _whole(method, "PVM_ObjOrderList") if "PVM_ObjOrderList" in method else order
    if len(told) == len(order) and (told != order).any():
        raise DamagedScan("ACQ_obj_order and PVM_ObjOrderList name the slices in different orders; copy both again")
    return slices, echoes, sets, order
