"""The ISMRMRD header of a Siemens measurement, from its protocol and its lines.

Names and patient data are passed on as they stand in the file; taking them out is a step of its own.

Schema: ismrmrd.xsd, https://github.com/ismrmrd/ismrmrd.
"""

from datetime import date

import numpy as np
from ismrmrd import xsd
from xsdata.models.datatype import XmlDate

from raki.formats.twix.encoding import to_encoding
from raki.formats.twix.protocol import Protocol

SEQUENCE_TYPES = {1: "Flash", 2: "SSFP", 4: "EPI", 8: "TurboSpinEcho", 16: "ChemicalShiftImaging", 32: "FID"}
# Of Siemens' digital receivers, as siemens_to_ismrmrd has it: the filter passes this part of the bandwidth.
NOISE_BANDWIDTH = 0.793
PROTON_HZ_PER_T = 42.577e6
SEXES = {1: "F", 2: "M", 3: "O"}


def to_header_xml(protocol: Protocol, heads: np.ndarray) -> str:
    """The header of the measurement to which protocol and heads belong, at least one head.

    Raises:
        DamagedScan: the protocol has no field of view.
    """
    field_t = protocol.derived("flMagneticFieldStrength") or protocol.number("sProtConsistencyInfo.flNominalB0") or 0.0
    frequency = protocol.number("sTXSPEC.asNucleusInfo[0].lFrequency") or protocol.derived("lFrequency")
    header = xsd.ismrmrdHeader(
        subjectInformation=_subject(protocol),
        measurementInformation=_measurement(protocol, int(heads["measurement_uid"][-1])),
        acquisitionSystemInformation=_system(protocol, field_t, int(heads["active_channels"].max())),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=round(frequency or PROTON_HZ_PER_T * field_t)
        ),
        encoding=[to_encoding(protocol, heads)],
        sequenceParameters=_sequence(protocol),
    )
    return str(xsd.ToXML(header, encoding="utf-8"))


def _subject(protocol: Protocol) -> xsd.subjectInformationType:
    weight_kg = protocol.derived("flUsedPatientWeight") or 0.0
    return xsd.subjectInformationType(
        patientName=protocol.derived_word("tPatientName"),
        patientWeight_kg=weight_kg if weight_kg > 0 else None,
        patientID=protocol.derived_word("PatientID"),
        patientBirthdate=_date(protocol.derived_word("PatientBirthDay") or ""),
        patientGender=SEXES.get(protocol.derived_count("lPatientSex")),
    )


def _measurement(protocol: Protocol, number: int) -> xsd.measurementInformationType:
    try:
        position = xsd.patientPositionType(protocol.derived_word("tPatientPosition"))
    except ValueError:
        # The schema demands one; nothing here depends on it, since directions are the patient's own.
        position = xsd.patientPositionType.HFS
    return xsd.measurementInformationType(
        measurementID=str(number),
        patientPosition=position,
        protocolName=protocol.word("tProtocolName") or protocol.derived_word("tProtocolName"),
        sequenceName=protocol.word("tSequenceFileName"),
        frameOfReferenceUID=protocol.derived_word("tFrameOfReference"),
    )


def _system(protocol: Protocol, field_t: float, n_channels: int) -> xsd.acquisitionSystemInformationType:
    return xsd.acquisitionSystemInformationType(
        systemVendor=protocol.derived_word("Manufacturer") or "SIEMENS",
        systemModel=protocol.derived_word("ManufacturersModelName"),
        systemFieldStrength_T=field_t or None,
        relativeReceiverNoiseBandwidth=NOISE_BANDWIDTH,
        receiverChannels=n_channels,
        coilLabel=[
            xsd.coilLabelType(coilNumber=number, coilName=name)
            for number, name in sorted(protocol.coil_names().items())
            if 0 <= number < 1 << 16
        ],
        institutionName=protocol.derived_word("InstitutionName"),
        deviceSerialNumber=protocol.derived_word("DeviceSerialNumber"),
    )


def _sequence(protocol: Protocol) -> xsd.sequenceParametersType:
    """Times in ms. Echo times beyond the number of echoes are the protocol's defaults."""
    n_echoes = protocol.count("lContrasts", 1)
    spacing_us = protocol.derived("lEchoSpacing") or 0.0
    return xsd.sequenceParametersType(
        TR=_times_ms(protocol, "alTR"),
        TE=_times_ms(protocol, "alTE")[:n_echoes],
        TI=_times_ms(protocol, "alTI"),
        flipAngle_deg=[angle for angle in protocol.numbers("adFlipAngleDegree") if angle > 0],
        sequence_type=SEQUENCE_TYPES.get(protocol.count("ucSequenceType")),
        echo_spacing=[spacing_us / 1000] if spacing_us > 0 else [],
    )


def _times_ms(protocol: Protocol, name: str) -> list[float]:
    return [time_us / 1000 for time_us in protocol.numbers(name) if time_us > 0]


def _date(text: str) -> XmlDate | None:
    """A day as Siemens writes it, 19700131; None where it was left out or blanked."""
    try:
        return XmlDate.from_date(date.fromisoformat(text))
    except ValueError:
        return None
