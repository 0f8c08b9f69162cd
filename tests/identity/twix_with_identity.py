"""A small Siemens file with a patient in every place where such files name one."""

import struct
from pathlib import Path

import numpy as np

from raki.formats.twix.layout import VB, VD

NAME, ID, BIRTH, SERIAL = "Mustermann^Jörg", "PID-4711-XY", "19570813", "213010"
INSTITUTION, STREET, UID = "Klinikum Südstadt", "Ringallee 17", "1.3.12.2.1107.5.2.63.213010.1.20240206174024808.0.0.0"
PROTOCOL = "t1_fl2d Herr Mustermann"
WORDS = (NAME, "Mustermann", ID, BIRTH, SERIAL, INSTITUTION, "Südstadt", STREET, "Ringallee", UID, "20240206", "17:41")
N_COILS, N_SAMPLES, N_LINES = 2, 16, 6
TICKS = 25_483_792
"""A time of day, in steps of 2.5 ms."""

XPROTOCOL = f"""<XProtocol>
{{
  <Name> "{PROTOCOL}"
  <ID> 1000002
  <ParamMap."">
  {{
    <ParamString."tPatientName">  {{ "{NAME}"  }}
    <ParamString."PatientID"> {{ "{ID}" }}
    <ParamString."PatientBirthDay">{{ "{BIRTH}" }}
    <ParamLong."PatientSex">  {{ 1  }}
    <ParamDouble."flUsedPatientWeight">  {{ <Precision> 6  71.500000  }}
    <ParamDouble."flPatientHeight">  {{ <Unit> "[mm]" <Precision> 6  1690.000000  }}
    <ParamString."InstitutionName">{{ <LimitRange> {{ "a" "b" }} "{INSTITUTION}" }}
    <ParamString."InstitutionAddress"> {{ "{STREET},""{INSTITUTION}"",DE" }}
    <ParamString."DeviceSerialNumber">{{ "{SERIAL}" }}
    <ParamString."PrepareTimestamp">{{ "2024-02-06 17:41:48" }}
    <ParamString."tFrameOfReference">{{ "{UID}" }}
    <ParamString."Manufacturer">{{ "SIEMENS" }}
    <ParamString."tPatientPosition">{{ "HFS" }}
    <ParamString."Comment"> {{ <Comment> "ask {NAME} for consent" "for
{NAME}, of course" }}
    <ParamBool."bIsBodyCoil">{{ "true" }}
    <ParamDouble."flMagneticFieldStrength">{{ <Precision> 6 2.893620 }}
    <ParamLong."MeasUID">{{ 179 }}
    <ParamArray."Registered">
    {{
      <Default> <ParamMap.""> {{ <ParamString."Who"> {{ }} <ParamLong."PatientAge"> {{ }} <ParamLong."n"> {{ }} }}
      {{ {{ "{NAME}" }} {{ 66 }} {{ 4 }} }}
    }}
    stray {NAME}
  }}
}}
"""
ASCCONV = f"""### ASCCONV BEGIN object=MrProtDataImpl@MrProtocolData version=66110001 converter=%MEASCONST%/Conv.txt ###
sKSpace.lBaseResolution                  = 256
sProtConsistencyInfo.flNominalB0         = 2.89362
tProtocolName                            = ""{PROTOCOL}""
sCoilSelectMeas.asList[0].sCoilElementID.tElement = "HE1"
tReferenceImage0                         = "{UID}"
ulFlags                                  = 0x10  # set by {NAME}
### ASCCONV END ###
"""


def twix(path: Path, *, encoding: str = "utf-8", is_vb: bool = False) -> Path:
    """Writes an adjustment and a measurement (VD), or one measurement (VB)."""
    if is_vb:
        path.write_bytes(_measurement(VB, 179, encoding))
        return path
    parts = [_measurement(VD, number, encoding) for number in (178, 179)]
    starts = [10240, 10240 + len(parts[0])]
    table = struct.pack("<II", 0, 2)
    for number, start, part, protocol in zip((178, 179), starts, parts, ("AdjCoilSens", PROTOCOL), strict=True):
        name = NAME.encode(encoding)
        table += struct.pack("<IIQQ64s64s", number, 33257, start, len(part), name, protocol.encode(encoding))
    path.write_bytes((table + NAME.encode("utf-16-le")).ljust(10240, b"\0") + b"".join(parts))
    return path


def _measurement(layout, number: int, encoding: str) -> bytes:
    texts = {"Config": XPROTOCOL, "Dicom": XPROTOCOL, "Meas": XPROTOCOL + ASCCONV, "MeasYaps": ASCCONV}
    header = b""
    for name, text in texts.items():
        content = (text + "\n" * 2000).encode(encoding) + b"\0"
        header += name.encode() + b"\0" + struct.pack("<I", len(content)) + content
    header += NAME.encode(encoding)  # what the scanner's memory held
    n_bytes = 8 + len(header) + -(8 + len(header)) % 32
    header = (struct.pack("<II", n_bytes, len(texts)) + header).ljust(n_bytes, b"\0")
    samples = np.random.default_rng(number).standard_normal((N_LINES, N_COILS, 2 * N_SAMPLES)).astype("<f4")
    blocks = [_line(layout, number, index, one) for index, one in enumerate(samples)]
    blocks.insert(2, _head(layout, number, 2, mask=1 << 5, n_bytes=layout.header.itemsize + 64) + _monitor(encoding))
    end = _head(layout, number, N_LINES, mask=1, n_bytes=layout.header.itemsize + 160) + NAME.encode(encoding).ljust(
        160
    )
    body = header + b"".join(blocks) + end
    return body + NAME.encode(encoding).ljust(-len(body) % 512, b"\0")[: -len(body) % 512]


def _line(layout, number: int, index: int, samples: np.ndarray) -> bytes:
    n_bytes = layout.line_bytes(*samples.shape[:1], N_SAMPLES)
    head = _head(layout, number, index, mask=1 << 3, n_bytes=n_bytes)
    if layout is VB:
        return b"".join(head + one.tobytes() for one in samples)
    coil = struct.pack("<IiIIIIHHI", (32 + 8 * N_SAMPLES) << 8 | 2, number, index, 0, TICKS, TICKS, 0, 0, 0xBEEF)
    return head + b"".join(coil + one.tobytes() for one in samples)


def _head(layout, number: int, index: int, *, mask: int, n_bytes: int) -> bytes:
    head = np.zeros(1, layout.header)
    head["flags_and_length"], head["measurement"], head["counter"] = n_bytes, number, index + 1
    head["time"], head["pmu_time"] = TICKS + 10 * index, 5 * TICKS + 10 * index
    head["mask"], head["n_samples"], head["n_channels"], head["line"] = mask, N_SAMPLES, N_COILS, index
    return head.tobytes()


def _monitor(encoding: str) -> bytes:
    return f"PMU of {NAME}".encode(encoding).ljust(64, b"\1")
