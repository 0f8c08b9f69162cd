"""Folders of experiments as ParaVision stores them, from samples, by the loops that its documentation gives.

Lists of parameters are written with wrapped lines, comments and, for ParaVision 360, runs of equal values. Nothing of
this is shared with the reader.
"""

import textwrap
from dataclasses import dataclass, field

import numpy as np

KILOBYTE = 1024


def jcamp(parameters, *, runs=False):
    """A list of parameters. Texts are strings in `<>`, words lists of strings, arrays NumPy's."""
    lines = ["##TITLE=Parameter List, ParaVision", "##JCAMPDX=4.24", "##ORIGIN=Bruker BioSpin MRI GmbH"]
    lines += ["##OWNER=nmr", "$$ Write Options: Symbolic Enums"]
    for name, value in parameters.items():
        if isinstance(value, np.ndarray):
            shape = ", ".join(map(str, value.shape))
            words = in_runs(value.ravel()) if runs else [f"{number:.15g}" for number in value.ravel()]
            # ParaVision wraps near column 80, with a blank in front of the end of the line.
            lines += [f"##${name}=( {shape} )", *(f"{part} " for part in textwrap.wrap(" ".join(words), 78))]
        elif isinstance(value, list):
            lines += [f"##${name}=( {len(value)} )", " ".join(value)]
        elif isinstance(value, str) and value.startswith("<"):
            lines += [f"##${name}=( 65 )", value]
        else:
            lines.append(f"##${name}={value}")
        lines.append(f"$$ @vis= {name}")
    return "\n".join([*lines, "##END=", "$$ File finished by PARX", ""]).encode()


def in_runs(numbers):
    """Equal numbers in a row as `@n*(x)`."""
    words, at = [], 0
    while at < len(numbers):
        n_same = next((n for n, number in enumerate(numbers[at:]) if number != numbers[at]), len(numbers) - at)
        text = f"{numbers[at]:.15g}"
        words += [f"@{n_same}*({text})"] if n_same > 2 else [text] * n_same
        at += n_same
    return words


@dataclass
class Experiment:
    """What is in a folder; a test may change it before it is written."""

    acqp: dict = field(default_factory=dict)
    method: dict = field(default_factory=dict)
    samples: bytes = b""
    name: str = "fid"
    runs: bool = False

    def files(self):
        acqp, method = (jcamp(part, runs=self.runs) for part in (self.acqp, self.method))
        return {"acqp": acqp, "method": method, self.name: self.samples}

    def write(self, folder):
        """Writes the folder; returns the path of its `acqp`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files().items():
            (folder / name).write_bytes(content)
        return folder / "acqp"


def experiment(
    sampled,
    *,
    n_receivers,
    n_read,
    steps=None,
    partitions=None,
    version="PV 6.0.1",
    in_time=None,
    n_echoes=1,
    n_sets=1,
    n_repetitions=1,
    rare=1,
    word="GO_32BIT_SGN_INT",
    order="little",
    block="Standard_KBlock_Format",
    gradients=None,
    offsets_mm=None,
    fov_mm=(40.0, 30.0),
    antialias=(1.0, 1.0),
    position="Head_Prone",
    spacing_mm=1.5,
):
    """An experiment whose scans are what `sampled` gives.

    Args:
        sampled: called with slice, echo, set, repetition, step and partition, gives `receiver sample`.
        steps, partitions: of k-space, from its centre, in the order of time.
        in_time: slices in the order in which they are excited.
        rare: lines that are acquired of one slice before the next.
        gradients: rows read, phase, slice, for each slice by its number.
        offsets_mm: read, phase, slice for each slice.
    """
    slices = list(range(len(offsets_mm))) if in_time is None else list(in_time)
    n_slices = len(slices)
    offsets = np.array(offsets_mm, float)
    gradients = np.broadcast_to(np.eye(3) if gradients is None else gradients, (n_slices, 3, 3))
    is_360 = "360" in version
    objects = [(number, echo, other) for number in slices for other in range(n_sets) for echo in range(n_echoes)]
    kind = np.dtype({"little": "<", "big": ">"}[order] + WORDS[word])
    content, n_scans = bytearray(), 0
    for repetition in range(n_repetitions):
        for partition in [0] if partitions is None else partitions:
            for first in range(0, len(steps), rare):
                for number, echo, other in objects:
                    for step in steps[first : first + rare]:
                        scan = np.asarray(sampled(number, echo, other, repetition, step, partition))
                        parts = np.stack([scan.real, scan.imag], axis=-1)
                        words = (np.round(parts) if kind.kind == "i" else parts).astype(kind).tobytes()
                        if not is_360 and block == "Standard_KBlock_Format":
                            words += bytes(-len(words) % KILOBYTE)
                        content += words
                        n_scans += 1
    dimensions = 2 if partitions is None else 3
    acqp = {
        "PULPROG": "<FLASH.ppg>",
        "ACQ_dim": dimensions,
        "ACQ_dim_desc": ["Spatial"] * dimensions,
        "ACQ_size": np.array([2 * n_read, len(steps), len(partitions or [0])][:dimensions]),
        "NI": len(objects),
        "NR": n_repetitions,
        "NSLICES": n_slices,
        "ACQ_n_echo_images": n_echoes,
        "ACQ_phase_factor": rare,
        "ACQ_rare_factor": rare,
        "ACQ_obj_order": np.array([(n * n_sets + other) * n_echoes + echo for n, echo, other in objects]),
        "ACQ_ReceiverSelect": ["Yes"] * n_receivers + ["No"] * 2,
        "ACQ_scan_size": "One_scan",
        "ACQ_sw_version": f"<{version}>",
        "ACQ_patient_pos": position,
        "ACQ_grad_matrix": np.array([gradients[number] for number in slices], float),
        "ACQ_read_offset": offsets[:, 0],
        "ACQ_phase1_offset": offsets[:, 1],
        "ACQ_slice_offset": offsets[:, 2],
        "ACQ_slice_thick": spacing_mm,
        "BYTORDA": order,
        "BF1": "400.322918393765",
        "ACQ_repetition_time": np.array([1000.0]),
        "ACQ_echo_time": np.array([7.5, 15])[:n_echoes],
        "ACQ_inversion_time": np.array([0]),
        "ACQ_flip_angle": 30,
        "NUC1": "<1H>",
    }
    if is_360:
        title = f"({2 * n_read}, 9, 18, {3 * n_scans}, 101, 50000, {n_scans}, 1, <job0>)"
        settings = f"(STORE_processed, {word}, DISPLAY_each, LOG_none, ACCUM_average, 1, {n_scans}, 0)"
        acqp |= {"ACQ_jobs": f"( 1 )\n{title}", "ACQ_ScanPipeJobSettings": f"( 1 )\n{settings}"}
        acqp["ACQ_size"] = np.array([1024, 1, 1][:dimensions])
        acqp["ACQ_word_size"] = "_32_BIT"
    else:
        acqp |= {"GO_raw_data_format": word, "GO_block_size": block, "AQ_mod": "qdig", "SW_h": 50000}
    method = {
        "Method": "<Bruker:FLASH>",
        "PVM_EncMatrix": np.array([n_read, len(steps), len(partitions or [0])][:dimensions]),
        "PVM_Matrix": np.array([n_read, len(steps), len(partitions or [0])][:dimensions]),
        "PVM_EncSteps1": np.array(steps),
        "PVM_EncSteps2": np.array(partitions or [0]),
        "PVM_EncNReceivers": n_receivers,
        "PVM_Fov": np.array(fov_mm[:dimensions]),
        "PVM_AntiAlias": np.array(antialias[:dimensions]),
        "PVM_SliceThick": spacing_mm,
        "PVM_ObjOrderList": np.array(slices),
        "PVM_EffSWh": 50000,
    }
    return Experiment(acqp, method, bytes(content), "rawdata.job0" if is_360 else "fid", runs=is_360)


WORDS = {
    "GO_32BIT_SGN_INT": "i4",
    "GO_16BIT_SGN_INT": "i2",
    "GO_32BIT_FLOAT": "f4",
    "STORE_32bit_signed": "i4",
    "STORE_64bit_float": "f8",
}
