"""Signs that a pulse sequence gives to phase-encode lines, and how they are taken off again."""

import numpy as np
from jaxtyping import Bool, Complex64


def undo_rf_chop(
    lines: Complex64[np.ndarray, "*before line ro"], is_odd: Bool[np.ndarray, " line"]
) -> Complex64[np.ndarray, "*before line ro"]:
    """Turns the sign of the odd lines, which were excited with the opposite radio-frequency phase.

    Scanners alternate ("chop") that phase from line to line, so that a constant offset of the receiver is encoded to
    the edge of the image and not into its centre. Left in, the alternation (-1)^line moves the image by half the field
    of view along phase-encode. Doing it twice gives back the lines.

    Args:
        lines: k-space before the transform along phase-encode.
        is_odd: of each line; odd in the order of phase-encode, counted from zero.

    Bernstein, King and Zhou 2004, Handbook of MRI Pulse Sequences, section 11.5.1.
    """
    signs = np.where(is_odd, np.float32(-1), np.float32(1))
    return lines * signs[:, np.newaxis]
