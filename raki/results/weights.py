"""`weights.safetensors`: the kernels that filled the images, for whoever asks what an image was made with, or goes on
from there.

One tensor for each image, `image_0001` and on (of a 3-D scan for each readout position, `plane_0001` and on): complex64
with axes source coil, source, coil, missing sample. A missing sample is the sum of its neighbours times these. Where
sources and missing samples lie, in lines and readout samples (3-D: partitions) from the acquired sample before the gap,
stands in the head, and with it the kernel's size, `strength`, the threshold of the joint sparsity that followed in
units of the noise (null where none did; what that takes away depends on the samples, so it has no weights), and
`lattice_error`, by which the kernel is known to hold of another scan or not. K-space is as it was filled: whitened, and
of virtual coils where the coils were compressed. `made_for` says of which coils, lattice and places that was.

These fill the same scan again bit for bit on the same device: `raki.models`.

Hugging Face, safetensors: a head in JSON, then the numbers; nothing in it is run.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from raki.images import Reconstruction
from raki.kspace import KernelWeights
from raki.planning import Cell, Kernel
from raki.results.made_for import MadeFor, made_for_result

SCHEMA = "raki.weights/2"
AXES = "source_coil source coil missing"
RUNGS = ("grappa", "raki_linear", "raki")
LARGEST_KERNEL = 64
"""Lines, or samples, of any kernel that raki has ever fitted, and more."""

Weights = Complex64[np.ndarray, "source_coil source coil missing"]


@dataclass(frozen=True, kw_only=True)
class StoredScan:
    """All weights of a file, ready to fill with."""

    method: str
    seed: int
    made_for: MadeFor
    n_virtual_coils: int | None
    images: tuple[KernelWeights, ...]
    """Of each image, or readout position."""


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
    made_for = made_for_result(reconstruction.scan, reconstruction.weights[0].gap)
    head = {
        "schema": SCHEMA,
        "method": reconstruction.method,
        "seed": reconstruction.seed,
        "axes": AXES,
        "n_virtual_coils": reconstruction.n_virtual_coils,
        "made_for": made_for.model_dump(mode="json"),
        "kernels": {name: _facts(each) for name, each in zip(tensors, reconstruction.weights, strict=True)},
    }
    # One key alone: of several the library promises no order.
    path.write_bytes(save(tensors, {"raki": json.dumps(head, allow_nan=False)}))
    return [path]


def read_weights(path: Path) -> tuple[dict[str, Weights], dict[str, Any]]:
    """The weights by image, and the facts on them.

    Raises:
        ValueError: the file is none that `write_weights` wrote.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            head = json.loads((file.metadata() or {})["raki"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping
    except (SafetensorError, KeyError, ValueError, RecursionError, TypeError) as error:
        raise ValueError(f"{path.name} holds no weights of raki's ({type(error).__name__})") from None
    for name, tensor in tensors.items():
        if tensor.dtype != np.complex64 or tensor.ndim != 4:
            raise ValueError(
                f"the tensor {name[:40]} is {tensor.dtype} of {tensor.ndim} axes; complex64 of 4 is needed"
            )
    if not isinstance(head, dict):
        raise ValueError(f"{path.name} has no facts in its head")
    return tensors, head


def read_stored(path: Path) -> StoredScan:
    """What `write_weights` wrote, each tensor held against what the head says of it.

    Raises:
        ValueError: a tensor is missing, too many, of another shape or type, or not finite; or the head lacks what
            filling needs, as that of an earlier raki does.
    """
    tensors, head = read_weights(path)
    if head.get("schema") != SCHEMA:
        raise ValueError(f"{path.name} is of schema {head.get('schema')!r}; weights that fill are of {SCHEMA!r}")
    try:
        made_for = MadeFor.model_validate(head["made_for"])
        method, seed, virtual, kernels = head["method"], head["seed"], head["n_virtual_coils"], head["kernels"]
        if method not in RUNGS or type(seed) is not int or not isinstance(virtual, int | None):
            raise ValueError(f"{path.name} has no method, seed or number of coils that raki writes")
        if kernels.keys() != tensors.keys():
            raise ValueError(f"{path.name} has tensors {_few(tensors)}; its head names {_few(kernels)}")
        n_coils = virtual or made_for.n_coils
        images = tuple(_read(name, tensors[name], kernels[name], made_for, n_coils) for name in kernels)
    except (ValidationError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"the head of {path.name} lacks what filling needs ({type(error).__name__})") from None
    if not made_for.is_3d and len(images) != made_for.n_slices * made_for.n_frames:
        raise ValueError(f"{path.name} has weights of {len(images)} images; its head tells of another number")
    return StoredScan(method=method, seed=seed, made_for=made_for, n_virtual_coils=virtual, images=images)


def _read(name: str, array: np.ndarray, facts: Mapping[str, Any], made_for: MadeFor, n_coils: int) -> KernelWeights:
    kernel = Kernel(n_pe=_size(facts["kernel"][0]), n_ro=_size(facts["kernel"][1]))
    gap = gap_of(made_for)
    shape = (n_coils, kernel.n_pe * kernel.n_ro, n_coils, made_for.acceleration - 1)
    if array.shape != shape:
        raise ValueError(f"the tensor {name} is of shape {array.shape}; {shape} is needed")
    if not np.isfinite(array).all():
        raise ValueError(f"the tensor {name} holds values that are no numbers")
    strength, error = facts["strength"], facts["lattice_error"]
    for number in (strength, error):
        if number is not None and (not isinstance(number, int | float) or not isfinite(number) or number < 0):
            raise ValueError(f"the head has {number!r} where a number from 0 is needed, for {name}")
    if facts["filled_by"] not in RUNGS:
        raise ValueError(f"{name} was filled by {str(facts['filled_by'])[:40]!r}; one of {', '.join(RUNGS)} is needed")
    coefficients = torch.from_numpy(array.reshape(shape[0] * shape[1], shape[2] * shape[3]).copy())
    return KernelWeights.given(
        coefficients,
        kernel=kernel,
        gap=gap,
        filled_by=facts["filled_by"],
        strength=None if strength is None else float(strength),
        lattice_error=None if error is None else float(error),
    )


def gap_of(made_for: MadeFor) -> int | Cell:
    """R, or the unit cell of a 3-D scan."""
    if len(made_for.lattice) == 1:
        return made_for.lattice[0]
    n_pe, n_pe2, shift = made_for.lattice
    return Cell(n_pe=n_pe, n_pe2=n_pe2, shift=shift)


def _size(number: object) -> int:
    if type(number) is not int or not 1 <= number <= LARGEST_KERNEL:
        raise ValueError(f"a kernel of {number!r} lines or samples; 1 to {LARGEST_KERNEL} are possible")
    return number


def _few(names: Mapping[str, Any]) -> str:
    shown = ", ".join(str(name)[:20] for name in sorted(names)[:3])
    return f"{len(names)} ({shown}{', …' if len(names) > 3 else ''})"


def _as_array(weights: KernelWeights) -> Weights:
    n_sources, n_missing = len(weights.sources), len(weights.targets)
    n_features, n_targets = weights.coefficients.shape
    shape = (n_features // n_sources, n_sources, n_targets // n_missing, n_missing)
    return np.ascontiguousarray(weights.coefficients.numpy().reshape(shape))


def _facts(weights: KernelWeights) -> Mapping[str, Any]:
    return {
        "filled_by": weights.filled_by,
        "kernel": [weights.kernel.n_pe, weights.kernel.n_ro],
        "strength": weights.strength,
        "lattice_error": weights.lattice_error,
        "sources": weights.sources.tolist(),
        "missing": weights.targets.tolist(),
    }
