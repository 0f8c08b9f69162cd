"""Writes small Siemens twix files, byte by byte at the offsets of the format and by no code of the reader."""

import struct
from dataclasses import dataclass, field

import numpy as np

ACQEND, RTFEEDBACK, SYNCDATA, PHASCOR, PATREF, PATREF_AND_IMAGE, REFLECT, NOISE = (
    1 << bit for bit in (0, 1, 5, 21, 22, 23, 24, 25)
)
# In the order of the file: line, average, slice, partition, echo, phase, repetition, set, segment.
ORDER = ("line", "average", "slice", "partition", "echo", "phase", "repetition", "set", "segment")
NO_ROTATION = (1.0, 0.0, 0.0, 0.0)


@dataclass(kw_only=True)
class Line:
    """One line as the test wants it; `samples` are `coil sample`."""

    samples: np.ndarray
    mask: int = 8
    counters: dict[str, int] = field(default_factory=dict)
    centre_sample: int | None = None
    centre_line: int = 0
    cut: tuple[int, int] = (0, 0)
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quaternion: tuple[float, float, float, float] = NO_ROTATION
    channels: tuple[int, ...] | None = None


PROTOCOL = {
    "tProtocolName": '"gre"',
    "tSequenceFileName": '"%SiemensSeq%\\gre"',
    "ucSequenceType": "1",
    "alTR[0]": "10000",
    "alTE[0]": "3000",
    "alTE[1]": "9000",
    "adFlipAngleDegree[0]": "15.0",
    "lContrasts": "1",
    "sRXSPEC.alDwellTime[0]": "11600",
    "sTXSPEC.asNucleusInfo[0].lFrequency": "123263034",
    "sKSpace.lBaseResolution": "8",
    "sKSpace.lPhaseEncodingLines": "6",
    "sKSpace.ucTrajectory": "0x1",
    "sSliceArray.lSize": "1",
    "sSliceArray.asSlice[0].dThickness": "4.0",
    "sSliceArray.asSlice[0].dPhaseFOV": "150.0",
    "sSliceArray.asSlice[0].dReadoutFOV": "200.0",
    "sPat.lAccelFactPE": "1",
    "sPat.ucRefScanMode": "0x1",
}
DICOM = {
    "tPatientName": '"Doe^Jané"',
    "flReadoutOSFactor": "<Precision> 6 2.0",
    "flMagneticFieldStrength": "<Precision> 6  2.893620",
    "Manufacturer": '"SIEMENS"',
    "InstitutionName": '<Visible> "true" "Anywhere"',
    "DeviceSerialNumber": '"45385"',
    "SoftwareVersions": '"syngo MR E11"',
    "tPatientPosition": '"HFS"',
    "lPatientSex": "1",
    "PatientBirthDay": '"19700131"',
}


def buffers(protocol, derived) -> dict[str, bytes]:
    """The text buffers of a measurement, as scanners name and write them."""
    lines = "".join(f"{name}\t = \t{value}\n" for name, value in protocol.items())
    words = "".join(f'  <ParamString."{name}"> \n {{ {value}  }}\n' for name, value in derived.items())
    return {
        "Config": b'<XProtocol> { <ParamLong."NColMeas"> { 16 } }',
        "Dicom": f"<XProtocol>\n{{\n{words}}}\n".encode(),
        "MeasYaps": f"### ASCCONV BEGIN object=MrProt version=1 ###\n{lines}\n### ASCCONV END ###\n".encode(),
    }


def header_bytes(text: dict[str, bytes]) -> bytes:
    body = b"".join(name.encode() + b"\0" + struct.pack("<I", len(value)) + value for name, value in text.items())
    n_bytes = (8 + len(body) + 31) // 32 * 32
    n_bytes = max(n_bytes, 10_016)
    return (struct.pack("<II", n_bytes, len(text)) + body).ljust(n_bytes, b"\0")


def vd_line(line: Line, number: int, measurement: int = 7, *, n_dma: int | None = None) -> bytes:
    n_coils, n_samples = line.samples.shape
    n_bytes = 192 + n_coils * (32 + 8 * n_samples) if n_dma is None else n_dma
    head = bytearray(192)
    struct.pack_into("<5I", head, 0, n_bytes, measurement, number, 1000 + number, 2000 + number)
    struct.pack_into("<3i", head, 24, 0, 0, -1_040_015)
    _common(head, 40, line)
    struct.pack_into("<3f4f", head, 100, *line.position, *line.quaternion)
    channels = line.channels or range(n_coils)
    coils = b"".join(
        struct.pack("<IIIIIIHHI", 0, measurement, number, 0, 0, 0, channel, 0, 0) + samples.astype("<c8").tobytes()
        for channel, samples in zip(channels, line.samples, strict=True)
    )
    return bytes(head) + coils


def vb_line(line: Line, number: int, measurement: int = 7) -> bytes:
    n_coils, n_samples = line.samples.shape
    stored = b""
    for channel, samples in zip(line.channels or range(n_coils), line.samples, strict=True):
        head = bytearray(128)
        n_bytes = n_coils * (128 + 8 * n_samples)
        struct.pack_into("<5I", head, 0, n_bytes, measurement, number, 1000 + number, 2000 + number)
        _common(head, 20, line)
        struct.pack_into("<3f4fH", head, 96, *line.position, *line.quaternion, channel)
        stored += bytes(head) + samples.astype("<c8").tobytes()
    return stored


def vd_block(mask: int, n_bytes: int, measurement: int = 7) -> bytes:
    """A block without samples: monitoring data, or the end."""
    head = bytearray(192)
    struct.pack_into("<II", head, 0, n_bytes, measurement)
    struct.pack_into("<Q", head, 40, mask)
    return bytes(head).ljust(n_bytes, b"\x55")


def vb_block(mask: int, n_bytes: int, measurement: int = 7) -> bytes:
    head = bytearray(128)
    struct.pack_into("<II", head, 0, n_bytes, measurement)
    struct.pack_into("<Q", head, 20, mask)
    return bytes(head).ljust(n_bytes, b"\x55")


def vd_measurement(lines, protocol=PROTOCOL, derived=DICOM, *, end: bool = True) -> bytes:
    stored = [header_bytes(buffers(protocol, derived)), vd_block(SYNCDATA, 256)]
    stored += [vd_line(line, number) for number, line in enumerate(lines, 1)]
    if end:
        stored.append(vd_block(ACQEND, 352))
    return b"".join(stored)


def vd_file(*measurements: bytes) -> bytes:
    """A multi-raid file: the table of measurements, then each at a multiple of 512 bytes."""
    table, at, stored = bytearray(10_240), 10_240, b""
    struct.pack_into("<II", table, 0, 0, len(measurements))
    for n, measurement in enumerate(measurements):
        padded = measurement.ljust((len(measurement) + 511) // 512 * 512, b"\0")
        struct.pack_into("<IIQQ64s64s", table, 8 + 152 * n, 7, n, at, len(measurement), b"Doe^Jane", b"gre")
        at += len(padded)
        stored += padded
    return bytes(table) + stored


def vb_file(lines, protocol=PROTOCOL, derived=DICOM) -> bytes:
    stored = [header_bytes(buffers(protocol, derived)), vb_block(SYNCDATA, 160)]
    stored += [vb_line(line, number) for number, line in enumerate(lines, 1)]
    return b"".join([*stored, vb_block(ACQEND, 128)])


WRITERS = {"VD": lambda lines, **changes: vd_file(vd_measurement(lines, **changes)), "VB": vb_file}


def noise(shape, number=0):
    random = np.random.default_rng(number)
    return (random.standard_normal(shape) + 1j * random.standard_normal(shape)).astype(np.complex64)


def image_lines(n_lines=6, n_coils=3, n_samples=16, **changes):
    return [
        Line(samples=noise((n_coils, n_samples), n), counters={"line": n}, centre_line=n_lines // 2, **changes)
        for n in range(n_lines)
    ]


def _common(head: bytearray, at: int, line: Line) -> None:
    """From the mask to the centre partition, which both generations have in the same order."""
    n_coils, n_samples = line.samples.shape
    counters = [line.counters.get(name, 0) for name in ORDER]
    centre = n_samples // 2 if line.centre_sample is None else line.centre_sample
    struct.pack_into("<QHH", head, at, line.mask, n_samples, n_coils)
    struct.pack_into("<14H", head, at + 12, *counters, 0, 0, 0, 0, 0)
    struct.pack_into("<4HfI2H", head, at + 40, *line.cut, centre, 0, 0.0, 77, line.centre_line, 0)
