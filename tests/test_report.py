import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raki.completion import METHODS
from raki.provenance import provenance
from raki.report import SLICES_SHOWN, difference_factor, method_label, render_report
from tests.example_reconstruction import WARNING, example_reconstruction

VOID = {"meta", "img", "input", "br", "link", "hr"}


class Page(HTMLParser):
    """The elements of a page, with a check that each one opened is closed in its place."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self._open = [], [], []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def report(source_name="head.h5", **example):
    reconstruction = example_reconstruction(**example)
    facts = provenance(reconstruction, sha256="ab" * 32, n_bytes=12345, scan_id=None, stage_seconds={"decompress": 2.0})
    return render_report(reconstruction, facts, source_name=source_name)


def test_it_opens_anywhere_without_network_or_scripts():
    html = report()
    page = Page(html)
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    assert re.findall(r"https?://|url\(|@import|\son\w+=", html) == []
    assert {attrs["src"].split(",")[0] for attrs in page.all("img")} == {"data:image/png;base64"}


def test_whatever_a_site_calls_its_file_is_text():
    hostile = "<script>alert(1)</script>\" onload='x' & Müller.h5"
    html = report(source_name=hostile, notes=("a </ul><script>note</script>",))
    page = Page(html)
    assert page.all("script") == []
    assert "".join(page.text).count(hostile) == 2  # title and heading
    assert "a </ul><script>note</script>" in page.text


def test_each_slice_has_its_picture_by_each_method_and_a_name_for_who_cannot_see_it():
    pictures = [attrs["alt"] for attrs in Page(report(n_slices=2, with_maps=False)).all("img")]
    assert pictures == [
        f"Slice {number}, {label}"
        for number in (1, 2)
        for label in ("Zero-filled", "GRAPPA", "RAKI", "|RAKI − GRAPPA| ×\N{NO-BREAK SPACE}50")  # noqa: RUF001
    ]


def test_pictures_share_one_window_and_the_difference_is_magnified():
    """The example's zero-filled image is half the result, its GRAPPA image 1.01 times it."""
    images = [attrs["src"].split(",")[1] for attrs in Page(report(n_slices=1, with_maps=False)).all("img")]
    zero_filled, _, raki, difference = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), dtype=float) for data in images
    )
    unclipped = raki < 255
    np.testing.assert_allclose(zero_filled[unclipped], raki[unclipped] / 2, atol=1)
    np.testing.assert_allclose(difference[unclipped], raki[unclipped] * 0.01 * 50, atol=1)


def test_one_slice_is_shown_at_first_and_each_can_be_chosen():
    html = report(n_slices=5)
    choices = Page(html).all("input")
    assert [choice["id"] for choice in choices] == [f"pick-{index}" for index in range(5)]
    assert [choice["id"] for choice in choices if "checked" in choice] == ["pick-2"]
    for index in range(5):
        assert f"#images:has(#pick-{index}:checked) #slice-{index}" in html
        assert f'id="slice-{index}"' in html


def test_a_report_on_many_slices_shows_some_and_says_so():
    html = report(n_slices=60)
    assert len(Page(html).all("img")) == (4 + 2) * SLICES_SHOWN
    assert f"{SLICES_SHOWN} of 60 slices are shown" in html


def test_it_states_sampling_timings_provenance_and_that_it_is_no_medical_device():
    text = " ".join(Page(report(notes=("Selection took the network.",))).text)
    for fact in (
        "14 of 32 phase-encode lines were acquired, R = 4",
        "2.29 (all lines",
        "Decompress",
        "ab" * 32,
        "12,345",
    ):
        assert fact in text
    assert "Selection took the network." in text
    assert "RAKI differs from GRAPPA by 0.99 % (root mean square)." in text
    assert "research use only. Not a medical device" in text


def test_the_outcome_says_what_became_of_the_lines_that_were_not_acquired():
    example = example_reconstruction()
    zero_filled = dataclasses.replace(example, method="zero_filled")
    complete = dataclasses.replace(example, scan=dataclasses.replace(example.scan, acceleration=1))
    for reconstruction, outcome in (
        (
            example,
            "R = 4. RAKI filled in those between them and mapped how far to trust them in 1.5\N{NO-BREAK SPACE}s",
        ),
        (zero_filled, "the others are left at zero"),
        (complete, "nothing had to be filled in"),
    ):
        facts = provenance(reconstruction, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
        assert outcome in render_report(reconstruction, facts, source_name="head.h5")


def test_without_training_there_is_no_chart_but_a_sentence():
    html = report(n_steps=0)
    assert "<polyline" not in html
    assert "trained no network" in html
    assert report().count("<polyline") == 2


@settings(derandomize=True, deadline=None)
@given(scale=st.floats(1e-6, 1e6))
def test_the_magnified_difference_fits_the_window_or_is_not_magnified(scale):
    reference = np.ones((1, 8, 8), np.float32)
    result = reference * np.float32(1 + scale)
    factor = difference_factor(result, reference, top=1.0)
    assert factor == 1 or factor * np.abs(result - reference).max() <= 1.0


def test_it_says_what_was_chosen_and_how_far_that_held():
    text = " ".join(Page(report()).text)
    for fact in (
        "RAKI with its nonlinear branch in 2 of 3 slices, GRAPPA in 1 of 3 slices",
        "1.2\N{NO-BREAK SPACE}% of their energy; GRAPPA 340\N{NO-BREAK SPACE}%",
        "0.98 (standard deviation), estimated from the calibration lines",
    ):
        assert fact in text


def test_a_warning_stands_once_and_apart_from_the_notes():
    html = report(notes=(WARNING, "A note."))
    assert html.count(WARNING) == 1
    assert (
        html.index('class="warnings"') < html.index(WARNING) < html.index("Notes on this scan") < html.index("A note.")
    )


def test_each_slice_shown_has_its_maps_with_the_values_of_black_and_white():
    html = report(n_slices=2)
    maps = [attrs for attrs in Page(html).all("img") if "g-factor" in attrs["alt"]]
    assert [attrs["alt"] for attrs in maps] == ["Slice 1, g-factor, 1 to 3", "Slice 2, g-factor, 1 to 3"]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(maps[0]["src"].split(",")[1]))), dtype=float)
    np.testing.assert_allclose(pixels[0], np.linspace(0, 255, pixels.shape[1]), atol=2)
    assert "main:has(#pick-1:checked) #maps-1" in html


def test_nothing_is_said_of_trust_where_nothing_is_known():
    example = dataclasses.replace(example_reconstruction(with_maps=False), verdict=None)
    facts = provenance(example, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    assert "How far to trust" not in render_report(example, facts, source_name="head.h5")
    assert "maps-" not in report(with_maps=False)


def test_with_adaptive_combination_it_says_what_the_standard_error_is_of():
    example = dataclasses.replace(example_reconstruction(), combination="adaptive")
    facts = provenance(example, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    sentence = "It is that of the root-sum-of-squares image."
    assert sentence in render_report(example, facts, source_name="head.h5")
    assert sentence not in report()


def test_every_method_has_a_name_for_a_text():
    labels = [method_label(method) for method in METHODS]
    assert len(set(labels)) == len(labels)
    assert not set(labels) & set(METHODS)
