"""A raw file in memory that the tests may change."""

import ismrmrd
import numpy as np
import pytest

from tests.inspection.recorded import Recorded, planned


@pytest.fixture(scope="module")
def recorded():
    """Two slices at R=2, and a noise scan before them."""
    image = planned(2, 8, n_pe=32, n_coils=3, n_slices=2)
    image.heads["sample_time_us"] = 5.0
    noise = np.repeat(image.heads[:1], 16)
    noise["flags"], noise["sample_time_us"] = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1), 10.0
    heads = np.concatenate([noise, image.heads])
    return lambda: Recorded(image.header_xml, heads.copy())
