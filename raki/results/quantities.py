"""What a result says of each pixel besides its magnitude: quantities with a unit, each a series of its own in DICOM."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi

import numpy as np

from raki.images import Reconstruction, ScanSummary
from raki.results.provenance import unit
from raki.scan.arrays import Volume


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One value for each pixel of the images, in their order."""

    name: str
    """Of its file."""
    label: str
    """Of its series."""
    meaning: str
    """Its unit and what it stands for, as a phrase."""
    ucum: tuple[str, str]
    """Code and name of the unit in UCUM."""
    place: int
    """Of its series behind that of the magnitude: the same for each scan."""
    bounds: tuple[float, float] | None
    """Its least and largest value where that is known beforehand; else those that there are count, and zero."""
    component: str
    """Of a complex image: MAGNITUDE or PHASE, as DICOM has it (PS3.3, section C.8.13.3.1.1)."""
    volume: Volume


def quantities_of(reconstruction: Reconstruction) -> Iterator[Quantity]:
    """Those that a reconstruction has: of its maps, of its phase, and of both with the noise, the signal-to-noise."""
    none, radian = ("1", "no units"), ("rad", "radian")
    named = {
        "g_factor": ("g-factor", "g-factor; dimensionless", None),
        "standard_error": ("standard error", f"standard error; in units of: {unit(reconstruction.scan)}", None),
        "structure_kept": ("structure kept", "part of a small structure that survives; dimensionless", (0.0, 1.0)),
    }
    for place, (name, (label, meaning, bounds)) in enumerate(named.items(), 1):
        if name in reconstruction.maps:
            yield Quantity(
                name=name,
                label=label,
                meaning=meaning,
                ucum=none,
                place=place,
                bounds=bounds,
                component="MAGNITUDE",
                volume=reconstruction.maps[name],
            )
    if "g_factor" in reconstruction.maps and reconstruction.scan.prewhitened:
        yield Quantity(
            name="snr",
            label="SNR",
            meaning="magnitude over the standard deviation of its noise; dimensionless",
            ucum=none,
            place=4,
            bounds=None,
            component="MAGNITUDE",
            volume=signal_to_noise(reconstruction),
        )
    if reconstruction.phase is not None:
        yield Quantity(
            name="phase",
            label="phase",
            meaning="phase of the coils' adaptive combination; in radian",
            ucum=radian,
            place=5,
            bounds=(-pi, pi),
            component="PHASE",
            volume=reconstruction.phase,
        )


def signal_to_noise(reconstruction: Reconstruction) -> Volume:
    """The magnitude over the standard deviation of the noise in it: images in units of SNR; zero where none passes.

    Pixels are in units of one coil's complex noise. Of that, half the variance is in phase with the signal, and it
    grows by g² and by the lines that weren't acquired. Where g is below 1 the image was smoothed, and a higher SNR is
    no more information. Below about 3 a magnitude is biased, and so is this.

    Raises:
        KeyError: the reconstruction has no g-factor.

    Kellman and McVeigh 2005, Magn Reson Med 54:1439-1447, doi:10.1002/mrm.20713.
    """
    deviation = reconstruction.maps["g_factor"] * noise_deviation(reconstruction.scan)
    return np.divide(reconstruction.result, deviation, out=np.zeros_like(reconstruction.result), where=deviation > 0)


def noise_deviation(scan: ScanSummary) -> np.float32:
    """Standard deviation of the noise in a magnitude where the g-factor is 1, in units of the images."""
    known = scan.sampled if scan.points is None else scan.points
    n_known = int(known.sum())
    n_filled = np.ptp(scan.encoded_lines) if scan.points is None else scan.net_acceleration * n_known
    return np.float32(n_filled / np.sqrt(2 * known.size * n_known))
