"""What the code under test logs."""

import pytest

from tests.embedded_metrics import logged


@pytest.fixture
def written():
    with logged() as written:
        yield written
