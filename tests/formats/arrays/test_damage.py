"""Truncated or changed anywhere, a file of arrays gives lines or one sentence."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raki.errors import PermanentError
from tests.formats.arrays.array_files import FORMATS, kspace, lines, write

FIXTURES = [HealthCheck.function_scoped_fixture]


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=15, suppress_health_check=FIXTURES)
@given(fraction=st.floats(0, 0.9999), name=st.sampled_from(["lead", "beside"]))
def test_truncated_at_any_byte_is_one_sentence(tmp_path, kind, fraction, name):
    path = write(kind, tmp_path / "Doe^Jane", kspace(2, 3, 5, 8))
    cut = path.with_suffix(".cfl") if kind == "bart" and name == "beside" else path
    content = cut.read_bytes()
    if kind == "bart" and name == "lead":
        content = content[: content.index(b"\n#", 1) + 1]
    cut.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(PermanentError) as raised, FORMATS[kind].open(path):
        pass
    assert "Doe" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=20, suppress_health_check=FIXTURES)
@given(data=st.data())
def test_changed_bytes_give_lines_or_one_sentence(tmp_path, kind, data):
    path = write(kind, tmp_path / "Doe^Jane", kspace(2, 3, 5, 8))
    content = bytearray(path.read_bytes())
    # Most of what isn't samples stands at the beginning or the end.
    places = st.one_of(
        st.integers(0, min(400, len(content) - 1)),
        st.integers(-min(600, len(content)), -1),
        st.integers(0, len(content) - 1),
    )
    for at, value in data.draw(
        st.lists(st.tuples(places, st.sampled_from([0, 1, 0x2D, 0x7F, 0xFF])), min_size=1, max_size=4)
    ):
        content[at] = value
    path.write_bytes(content)
    try:
        with FORMATS[kind].open(path) as acquisitions:
            assert all(np.isfinite(samples).all() for samples in lines(acquisitions).values())
    except PermanentError as error:
        assert "Doe" not in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
