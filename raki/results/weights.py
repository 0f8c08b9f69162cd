"""`weights.safetensors`: the kernels that filled the images, for whoever asks what an image was made with.

One tensor for each image, `image_0001` and on (of a 3-D scan for each readout position, `plane_0001` and on): complex64
with axes source coil, source, coil, missing sample. A missing sample is the sum of its neighbours times these. Where
sources and missing samples lie, in lines and readout samples (3-D: partitions) from the acquired sample before the gap,
stands in the head. K-space is as it was filled: whitened, and of virtual coils where the coils were compressed. What
joint sparsity made of it after the kernel is no weight; `filled_by` says where it did.

Hugging Face, safetensors: a head in JSON, then the numbers; nothing in it is run.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex64
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from raki.images import Reconstruction
from raki.kspace import KernelWeights

SCHEMA = "raki.weights/1"
AXES = "source_coil source coil missing"

Weights = Complex64[np.ndarray, "source_coil source coil missing"]


def write_weights(reconstruction: Reconstruction, path: Path) -> list[Path]:
    """Writes the weights of all images, dimensionless; nothing where the reconstruction has none.

    The same weights are the same bytes.

    Returns:
        The file, or none.
    """
    if not reconstruction.weights:
        return []
    kind = "image" if reconstruction.scan.points is None else "plane"
    tensors = {f"{kind}_{number:04d}": _as_array(each) for number, each in enumerate(reconstruction.weights, 1)}
    head = {
        "schema": SCHEMA,
        "method": reconstruction.method,
        "axes": AXES,
        "kernels": {name: _facts(each) for name, each in zip(tensors, reconstruction.weights, strict=True)},
    }
    # One key alone: of several the library promises no order.
    path.write_bytes(save(tensors, {"raki": json.dumps(head)}))
    return [path]


def read_weights(path: Path) -> tuple[dict[str, Weights], dict[str, Any]]:
    """The weights by image, and the facts on them.

    Raises:
        ValueError: the file is none that `write_weights` wrote.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            head = json.loads((file.metadata() or {})["raki"])
            return {name: file.get_tensor(name) for name in file.keys()}, head  # noqa: SIM118 -- no mapping
    except (SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f"{path.name} holds no weights of raki's ({type(error).__name__})") from None


def _as_array(weights: KernelWeights) -> Weights:
    n_sources, n_missing = len(weights.sources), len(weights.targets)
    n_features, n_targets = weights.coefficients.shape
    shape = (n_features // n_sources, n_sources, n_targets // n_missing, n_missing)
    return np.ascontiguousarray(weights.coefficients.numpy().reshape(shape))


def _facts(weights: KernelWeights) -> Mapping[str, Any]:
    return {
        "filled_by": weights.filled_by,
        "sources": weights.sources.tolist(),
        "missing": weights.targets.tolist(),
    }
