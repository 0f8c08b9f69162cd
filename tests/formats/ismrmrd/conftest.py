"""The small scan with its acquisitions or its header changed."""

import h5py
import numpy as np
import pytest


@pytest.fixture
def edit(raw, tmp_path):
    """Copies the small scan and changes its acquisitions or header."""

    def changed(change_heads=None, change_xml=None):
        path = tmp_path / "changed.h5"
        path.write_bytes(raw.read_bytes())
        with h5py.File(path, "r+") as file:
            if change_heads:
                acquisitions = file["dataset/data"][:]
                changed_acquisitions = change_heads(acquisitions)
                acquisitions = acquisitions if changed_acquisitions is None else changed_acquisitions
                file["dataset/data"].resize(len(acquisitions), axis=0)
                file["dataset/data"][:] = acquisitions
            if change_xml:
                file["dataset/xml"][0] = change_xml(file["dataset/xml"][0].decode()).encode()
        return path

    return changed


def images(acquisitions):
    return acquisitions["head"]["flags"] & np.uint64(1 << 18) == 0
