"""The N/2 ghost of EPI: lines read forward and backward disagree, and every other line is one of them.

Delays and eddy currents shift the echo one way in forward lines and the other way in reversed ones. Along the readout
of the image that is a phase linear in position between the two. Navigators, lines without phase encoding read forward
and backward in turn before the image, show it.
"""

import numpy as np
from jaxtyping import Bool, Complex64, Complex128, Float

from raki.errors import UnsupportedScan
from raki.scan import NyquistPhase, to_lines, to_profiles

# Slopes tried lie pi over this apart: less than a hundredth of a radian at the edge of 256 pixels.
N_SLOPES = 2**16


def flip_reversed(
    lines: Complex64[np.ndarray, "line coil sample"], is_reversed: Bool[np.ndarray, " line"]
) -> Complex64[np.ndarray, "line coil sample"]:
    """Brings the samples of reversed lines into the order of forward lines: last becomes first.

    Sample j becomes n - 1 - j, so with even n a DC at n // 2 comes to n // 2 - 1. Sampling centred on the gradient has
    DC between the two, and this is exact. Otherwise a shift by one sample is left, a phase linear along the readout,
    which `correct_nyquist` removes with the rest; a cyclic shift here would bring one end's sample to the other end.
    """
    return np.where(is_reversed[:, None, None], lines[..., ::-1], lines)


def nyquist_phase(
    navigators: Complex64[np.ndarray, "navigator coil ro"], is_reversed: Bool[np.ndarray, " navigator"]
) -> NyquistPhase:
    """Finds the phase between forward and reversed lines from one shot's navigators, flipped and on a uniform grid.

    An echo b is compared with its two neighbours of the other polarity, a and c: the phase of a c conj(b)^2 is twice
    the one sought and free of what grows evenly from echo to echo, off-resonance in fat or near air. With only two
    navigators that growth stays in. The line taken is where the sum over coils and pixels, weighted by the signal's
    power, is most coherent: a smaller part of the body that disagrees doesn't bend it, as it bends the mean step from
    pixel to pixel (Ahn and Cho). One line serves all coils: the delay is the gradient's, and a coil alone sees little.

    Args:
        navigators: in the order of recording.

    Raises:
        UnsupportedScan: all navigators are of one polarity, or they hold no signal.

    Heid 2000, US patent 6043651; Bruder et al. 1992, Magn Reson Med 23:311-323, doi:10.1002/mrm.1910230211;
    Ahn and Cho 1987, IEEE Trans Med Imaging 6:32-36, doi:10.1109/TMI.1987.4307795.
    """
    profiles = to_profiles(navigators.astype(np.complex128))
    doubled = np.zeros(profiles.shape[1:], np.complex128)
    single = np.zeros(profiles.shape[1:], np.complex128)
    for before, middle, after in _echoes_compared(is_reversed):
        drift_free = profiles[before] * profiles[after] * profiles[middle].conj() ** 2
        plain = (profiles[before] + profiles[after]) * profiles[middle].conj()
        doubled += drift_free if is_reversed[middle] else drift_free.conj()
        single += plain if is_reversed[middle] else plain.conj()
    if not doubled.any():
        raise UnsupportedScan(
            "the navigators, or the lines in their place, hold no signal; raki needs it to remove the N/2 ghost: "
            "export the scan with all of them"
        )
    return _fit_line(_root_of_magnitude(doubled).sum(axis=0), single.sum(axis=0))


def correct_nyquist(
    lines: Complex64[np.ndarray, "line coil ro"], is_reversed: Bool[np.ndarray, " line"], phase: NyquistPhase
) -> Complex64[np.ndarray, "line coil ro"]:
    """Removes the phase between forward and reversed lines, half from each: delays shift both, oppositely."""
    half = np.exp(0.5j * phase.along_readout(lines.shape[-1]))
    factors = np.where(is_reversed[:, None, None], half, half.conj())
    return to_lines(to_profiles(lines.astype(np.complex128)) * factors).astype(np.complex64)


def ghost_level(image: Float[np.ndarray, "pe ro"]) -> float:
    """How strong the N/2 ghost is: 0 without one, 1 where every other line is lost.

    Of two pixels half the field of view apart the fainter is taken for the ghost of the brighter: its share of the
    brighter, for all pairs with one pixel above the image's mean, at their lower quartile. So it holds for an object
    that leaves a quarter of its ghost on empty ground; noise and whatever lies there count as ghost, so a clean image
    isn't quite at 0. It compares images of one object and means little between objects.

    Args:
        image: magnitude; the whole encoded field of view along phase-encode, no line skipped.
    """
    n_pairs = image.shape[0] // 2
    halves = np.stack([image[:n_pairs], image[n_pairs : 2 * n_pairs]])
    faint, bright = halves.min(axis=0), halves.max(axis=0)
    counts = bright > image.mean()
    return float(np.quantile(faint[counts] / bright[counts], 0.25)) if counts.any() else 0.0


def _echoes_compared(is_reversed: Bool[np.ndarray, " navigator"]) -> list[tuple[int, int, int]]:
    """Each navigator with its neighbours of the other polarity; pairs only where no navigator has two."""
    n_navigators = len(is_reversed)
    triples = [
        (i - 1, i, i + 1)
        for i in range(1, n_navigators - 1)
        if is_reversed[i - 1] == is_reversed[i + 1] != is_reversed[i]
    ]
    pairs = [(i - 1, i, i - 1) for i in range(1, n_navigators) if is_reversed[i - 1] != is_reversed[i]]
    if not pairs:
        raise UnsupportedScan(
            f"the {n_navigators} navigators are all {'reversed' if is_reversed.any() else 'forward'} lines; raki needs "
            "both polarities to remove the N/2 ghost: export the scan with all of its navigators"
        )
    return triples or pairs


def _root_of_magnitude(product: Complex128[np.ndarray, "coil ro"]) -> Complex128[np.ndarray, "coil ro"]:
    """The same phase with the root of the magnitude: four profiles multiplied weigh as the power of one."""
    return np.asarray(product / np.sqrt(np.maximum(np.abs(product), np.finfo(float).tiny)))


def _fit_line(doubled: Complex128[np.ndarray, " ro"], single: Complex128[np.ndarray, " ro"]) -> NyquistPhase:
    """The slope and offset at which `doubled` is most coherent, halved; `single` says which of the two halves."""
    n_ro = len(doubled)
    spectrum = np.fft.fft(doubled, max(N_SLOPES, n_ro))
    best = int(np.argmax(np.abs(spectrum)))
    slope = np.pi * np.fft.fftfreq(len(spectrum))[best]
    at_first = np.angle(spectrum[best]) / 2
    line = NyquistPhase(slope_rad_per_pixel=float(slope), offset_rad=float(at_first + slope * (n_ro // 2)))
    agreement = np.sum(single * np.exp(-1j * line.along_readout(n_ro))).real
    turned = line.offset_rad + (0 if agreement >= 0 else np.pi)
    return NyquistPhase(slope_rad_per_pixel=float(slope), offset_rad=float(np.angle(np.exp(1j * turned))))
