"""The axes of every array, as types.

The order is `slice coil pe ro` everywhere; vendor orders end at the reader. DC is at index `n // 2`.
pytest switches shape checking on (jaxtyping with beartype); in production the types cost nothing.
"""

import numpy as np
from jaxtyping import Bool, Complex64, Float32

ScanKSpace = Complex64[np.ndarray, "slice coil pe ro"]
NoiseScan = Complex64[np.ndarray, "coil sample"]
LineMask = Bool[np.ndarray, " pe"]
PointMask = Bool[np.ndarray, "pe pe2"]
"""Of a plane of two phase-encode directions, in 3-D scans."""
PointsByFrame = Bool[np.ndarray, "frame pe pe2"]
LinesByImage = Bool[np.ndarray, "image pe"]
Volume = Float32[np.ndarray, "slice row column"]
