"""A model written as a bundle for MONAI: `configs/metadata.json`, the card, the weights, and no code.

MONAI Bundle Specification, "metadata.json File". What goes in and comes out is told in its terms; a config, which would
name what MONAI is to run, is left out: raki fills with these weights, and MONAI has no such layer.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from raki.errors import BadModel
from raki.models.document import CARD, DOCUMENT, WEIGHTS
from raki.models.store import Kept


def write_bundle(model: Kept, folder: Path) -> list[Path]:
    """Writes the bundle into a folder that isn't there yet.

    Returns:
        Its files.

    Raises:
        BadModel: something stands in its place.
    """
    if folder.exists():
        raise BadModel(f"{folder.name} is there already; the bundle needs a folder of its own")
    (folder / "configs").mkdir(parents=True)
    for where in ("docs", "models"):
        (folder / where).mkdir()
    metadata = folder / "configs/metadata.json"
    metadata.write_text(json.dumps(_metadata(model), indent=2) + "\n", encoding="utf-8")
    copied = {
        WEIGHTS: folder / "models/model.safetensors",
        CARD: folder / "docs/README.md",
        DOCUMENT: folder / "docs/model.json",
    }
    for name, place in copied.items():
        shutil.copyfile(model.folder / name, place)
    return [metadata, *copied.values()]


def _metadata(model: Kept) -> dict[str, Any]:
    document, made_for = model.document, model.document.made_for
    kspace = {
        "type": "series",
        "format": "kspace",
        "num_channels": made_for.n_coils,
        "spatial_shape": [made_for.n_phase_encode, made_for.n_readout],
        "dtype": "complex64",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": {str(number): f"coil {number + 1}" for number in range(made_for.n_coils)},
    }
    return {
        "version": document.version,
        "changelog": {document.version: "exported from raki"},
        "monai_version": "",
        "pytorch_version": document.software.get("torch", ""),
        "numpy_version": document.software.get("numpy", ""),
        "required_packages_version": {"raki-mri": document.software.get("raki", "")},
        "name": document.name,
        "task": "Filling of undersampled MRI k-space",
        "description": document.intended_use,
        "authors": "",
        "copyright": document.license,
        "data_type": "safetensors",
        "intended_use": f"{document.intended_use} {document.limits}",
        "eval_metrics": {score.name: score.value for score in document.scores},
        "network_data_format": {"inputs": {"kspace": kspace}, "outputs": {"pred": kspace}},
    }
