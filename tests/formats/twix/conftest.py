"""Small twix files, opened or refused; and the sizes that their headers give."""

import numpy as np
import pytest

from raki.archive import START_BYTES
from raki.errors import PermanentError
from raki.formats.acquisitions import Acquisitions
from raki.formats.twix.reader import TWIX
from raki.scan.header import parse_header


@pytest.fixture
def opened(tmp_path):
    """Opens a file of these bytes; heads, header and all samples."""

    def read(content):
        path = tmp_path / "Doe^Jane.dat"
        path.write_bytes(content)
        assert TWIX.recognises(content[:START_BYTES])
        with TWIX.open(path) as file:
            assert isinstance(file, Acquisitions)
            return file.heads, parse_header(file.header_xml), list(file.samples(np.arange(len(file.heads))))

    return read


def refusal(tmp_path, content, read=None):
    """The sentence about a file that can't be opened, or, where `read` is given, not be read by that; or None."""
    path = tmp_path / "Doe^Jane.dat"
    path.write_bytes(content)
    error = None
    try:
        if read is not None:
            read(path)
            return None
        with TWIX.open(path) as file:
            assert all(np.isfinite(one).all() for one in file.samples(np.arange(len(file.heads))))
            assert parse_header(file.header_xml).encoding
    except PermanentError as raised:
        error = raised
    sentence = str(error)
    assert "\n" not in sentence
    assert "Doe" not in sentence
    assert str(tmp_path) not in sentence
    return error


def matrix(space):
    return space.matrixSize.x, space.matrixSize.y, space.matrixSize.z


def lengths(space):
    return space.fieldOfView_mm.x, space.fieldOfView_mm.y, space.fieldOfView_mm.z
