"""Results as they are delivered, without the reconstruction: rows, a manifest, and an image file where it is wanted."""

import hashlib
import json
from pathlib import Path

import h5py
import numpy as np

from raki.manifest import entry, manifest
from raki.results.catalogue_rows import catalogue_rows
from raki.results.provenance import provenance
from tests.results.example_reconstruction import example_reconstruction

MANIFEST, ROWS = "manifest.json", "catalogue.jsonl"


def example_rows(**arguments):
    reconstruction = example_reconstruction(**arguments)
    facts = provenance(reconstruction, sha256="ab" * 32, n_bytes=1234, scan_id="scan-1", stage_seconds={})
    return list(catalogue_rows(reconstruction, facts, image_sha256="cd" * 32))


_OF_EXAMPLE: dict = {}


def deliver(
    root: Path, name: str, *, scan_id: str, n_slices: int = 3, seed: int = 0, with_images: bool = False, **changes
):
    """A result in the folder `name`, in the place of the one that is there."""
    rows = _OF_EXAMPLE.setdefault(n_slices, example_rows(n_slices=n_slices))
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    digest = "cd" * 32
    if with_images:
        images = np.random.default_rng(seed).random((n_slices, 1, 1, 32, 40)).astype(np.float32)
        with h5py.File(folder / "image.h5", "w") as file:
            file["dataset/image_0/data"] = images
        digest = hashlib.sha256((folder / "image.h5").read_bytes()).hexdigest()
    told = {"result_id": scan_id, "scan_id": scan_id, "image_sha256": digest, **changes}
    (folder / ROWS).write_text("".join(json.dumps(row | told) + "\n" for row in rows))
    listing = manifest([entry(folder / ROWS, ROWS)], outcome="reconstructed", scan_id=scan_id, remarks=())
    (folder / MANIFEST).write_text(json.dumps(listing))
    return folder
