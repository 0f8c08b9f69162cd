"""Lagrange's cubic between equally spaced nodes."""

import numpy as np
from jaxtyping import Float64


def cubic_weights(position: Float64[np.ndarray, " point"]) -> Float64[np.ndarray, "node point"]:
    """Weights of the four nodes about each point; positions are counted from the first of the four."""
    weights = []
    for node in range(4):
        others = [other for other in range(4) if other != node]
        weights.append(np.prod([(position - other) / (node - other) for other in others], axis=0))
    return np.stack(weights)
