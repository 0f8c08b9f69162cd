"""The difference of two images is magnified as far as it fits, by the factor that stands beside it."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from raki.results.pictures import Shown, difference_factor, pictures

SHOWN = Shown(frame=0, slice=0, index=0, name="slice 1")


def flat(value):
    return np.full((1, 8, 8), value, np.float32)


@pytest.mark.parametrize(
    ("difference", "factor"),
    [(0.0, 50), (0.019, 50), (0.021, 20), (0.06, 10), (0.15, 5), (0.3, 2), (0.6, 1), (3.0, 1)],
)
def test_a_difference_is_magnified_as_far_as_it_fits_the_window(difference, factor):
    assert difference_factor(flat(1 + difference), flat(1), top=1.0) == factor
    assert difference_factor(flat(1 - difference), flat(1), top=1.0) == factor


def test_the_picture_is_as_bright_as_the_factor_beside_it_says():
    ((*_, change),) = pictures({"GRAPPA": flat(0.94), "RAKI": flat(1)}, [SHOWN])
    assert change.label == "|RAKI \N{MINUS SIGN} GRAPPA| ×\N{NO-BREAK SPACE}10"  # noqa: RUF001 -- typeset
    pixels = np.asarray(Image.open(BytesIO(b64decode(change.uri.partition(",")[2]))))
    np.testing.assert_allclose(pixels, 10 * 0.06 * 255, atol=1)
