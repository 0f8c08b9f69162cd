"""How an EPI of Siemens read its trains of echoes, as ISMRMRD describes a trajectory."""

import ismrmrd
import numpy as np
from ismrmrd import xsd

from raki.formats.sorting.marks import NOT_IMAGE, has_flag
from raki.formats.twix.protocol import Protocol


def is_epi(image: np.ndarray) -> bool:
    """Whether one echo is read in both directions; echoes that alternate as a whole (bipolar) are no EPI."""
    reversed_lines = has_flag(image, ismrmrd.ACQ_IS_REVERSE)
    echoes = image["idx"]["contrast"]
    return bool(np.isin(echoes[reversed_lines], echoes[~reversed_lines]).any())


def epi_timing(protocol: Protocol, heads: np.ndarray, image: np.ndarray) -> xsd.trajectoryDescriptionType:
    """How the readout gradient was sampled, in us; ramps of zero length where the samples are evenly spaced already."""
    regrids = protocol.derived_count("alRegridMode") > 1
    n_samples = int(image["number_of_samples"][0])
    n_recorded = protocol.derived_count("alRegridDestSamples") or n_samples
    open_us = protocol.derived("aflRegridADCDuration") or 0.0
    dwell_us = open_us / n_recorded if regrids and open_us > 0 else float(image["sample_time_us"][0])
    n_navigators, train = _train(heads)
    times = {
        name: protocol.derived_count(parameter) if regrids else 0
        for name, parameter in (
            ("rampUpTime", "alRegridRampupTime"),
            ("rampDownTime", "alRegridRampdownTime"),
            ("flatTopTime", "alRegridFlattopTime"),
            ("acqDelayTime", "alRegridDelaySamplesTime"),
        )
    }
    counts = {
        "etl": train,
        "numberOfNavigators": n_navigators,
        "numSamples": n_recorded if regrids else n_samples,
        "echoSpacing": protocol.derived_count("lEchoSpacing"),
    }
    return xsd.trajectoryDescriptionType(
        identifier="ConventionalEPI",
        userParameterLong=[xsd.userParameterLongType(name=name, value=n) for name, n in {**counts, **times}.items()],
        userParameterDouble=[xsd.userParameterDoubleType(name="dwellTime", value=dwell_us)],
    )


def _train(heads: np.ndarray) -> tuple[int, int]:
    """Navigator lines in front of a train of echoes, and image lines in the train; the longest of each."""
    is_navigator = has_flag(heads, ismrmrd.ACQ_IS_PHASECORR_DATA)
    is_image = ~has_flag(heads, *NOT_IMAGE)
    return _longest_run(is_navigator), _longest_run(is_image)


def _longest_run(marks: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marks, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
