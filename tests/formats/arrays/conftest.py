"""A file as fastMRI has them."""

import h5py
import numpy as np
import pytest
from ismrmrd import xsd

from raki.phantom.simulation import scan_header
from tests.formats.arrays.array_files import kspace


@pytest.fixture
def knee(tmp_path):
    """A file such as fastMRI's: readout oversampled twice, undersampled lines, a header with a larger encoded FOV."""
    header = scan_header(2, 3, 32, 2)
    encoding = header.encoding[0]
    encoding.encodedSpace.fieldOfView_mm.x, encoding.encodedSpace.fieldOfView_mm.y = 280.0, 162.818
    encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y = 64, 37
    encoding.reconSpace.fieldOfView_mm.x = encoding.reconSpace.fieldOfView_mm.y = 140.0
    encoding.reconSpace.fieldOfView_mm.z = 4.5
    full = kspace(2, 3, 64, 37)
    mask = np.arange(37) % 2 == 0
    path = tmp_path / "knee.h5"
    with h5py.File(path, "w") as file:
        file["kspace"] = full
        file["mask"] = mask
        file["ismrmrd_header"] = xsd.ToXML(header)
        file["reconstruction_rss"] = np.ones((2, 32, 32), np.float32)
    return path
