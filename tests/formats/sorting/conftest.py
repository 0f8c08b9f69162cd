"""3-D scans that are simulated once for all tests of a module."""

from functools import cache

import numpy as np
import pytest

from raki.formats import open_raw
from raki.phantom import simulate_volume
from tests.formats.sorting.recordings import InMemory
from tests.formats.sorting.volumes import NO_NOISE


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")

    @cache
    def made(**options):
        path = folder / f"{len(list(folder.iterdir()))}.h5"
        simulate_volume(path, **{**NO_NOISE, **options})
        with open_raw([path]) as (_, found):
            heads = found.heads.copy()
            return InMemory(found.header_xml, heads, list(found.samples(np.arange(len(heads)))))

    return made
