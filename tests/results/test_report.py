"""The report says what was done and how far to trust it, and quotes nothing unescaped."""

import base64
import dataclasses
import io
import itertools
import re
from html.parser import HTMLParser

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raki.kspace import methods
from raki.results.image_files import window_top
from raki.results.pictures import IMAGES_SHOWN, difference_factor, images_shown
from raki.results.provenance import provenance
from raki.results.report import method_label, render_report
from raki.scan import Frame
from tests.results.example_reconstruction import WARNING, example_reconstruction

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
    assert len(Page(html).all("img")) == (4 + 3) * IMAGES_SHOWN
    assert f"{IMAGES_SHOWN} of 60 slices are shown" in html


ECHOES = tuple(Frame(contrast=contrast) for contrast in range(3))


def test_each_image_can_be_chosen_by_frame_and_slice():
    html = report(n_slices=2, frames=ECHOES)
    choices = Page(html).all("input")
    assert [choice["id"] for choice in choices] == ["frame-0", "frame-1", "frame-2", "pick-0", "pick-1"]
    assert [choice["id"] for choice in choices if "checked" in choice] == ["frame-0", "pick-1"]
    for index, (frame, slice_index) in enumerate(itertools.product(range(3), range(2))):
        chosen = f":has(#frame-{frame}:checked):has(#pick-{slice_index}:checked)"
        assert f"#images{chosen} #slice-{index}" in html
        assert f"main{chosen} #maps-{index}" in html
        assert f'id="slice-{index}"' in html


def test_an_image_of_several_frames_is_called_by_frame_and_slice_and_is_that_one():
    page = Page(report(n_slices=2, frames=ECHOES, with_maps=False))
    pictures = {attrs["alt"]: attrs["src"].split(",")[1] for attrs in page.all("img")}
    assert len(pictures) == 4 * 6
    result = example_reconstruction(n_slices=2, frames=ECHOES).result
    for index, name in enumerate(f"Contrast {c}, slice {s}, RAKI" for c in (1, 2, 3) for s in (1, 2)):
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[name]))), dtype=float)
        np.testing.assert_allclose(shown, np.clip(result[index] / window_top(result), 0, 1) * 255, atol=1)


def test_frames_are_counted_where_there_are_several():
    text = " ".join(Page(report(n_slices=2, frames=ECHOES, notes=())).text)
    assert "3 contrasts" in text
    assert "in 5 of 6 images" in text
    assert "frame" not in " ".join(Page(report()).text).lower()


@given(n_frames=st.integers(1, 300), n_slices=st.integers(1, 300))
def test_of_many_frames_and_slices_some_of_both_are_shown(n_frames, n_slices):
    frames = tuple(Frame(repetition=repetition) for repetition in range(n_frames))
    scan = dataclasses.replace(example_reconstruction().scan, frames=frames, n_slices=n_slices)
    shown = images_shown(scan)
    chosen_frames, slices = sorted({one.frame for one in shown}), sorted({one.slice for one in shown})
    assert [(one.frame, one.slice) for one in shown] == list(itertools.product(chosen_frames, slices))
    assert [one.index for one in shown] == [one.frame * n_slices + one.slice for one in shown]
    assert len(shown) <= IMAGES_SHOWN
    assert min(n_frames, 6) <= len(chosen_frames)
    assert min(n_slices, 4) <= len(slices)
    if scan.n_images <= IMAGES_SHOWN:
        assert len(shown) == scan.n_images


def test_a_report_on_many_frames_says_that_it_shows_some():
    html = report(n_slices=5, frames=tuple(Frame(repetition=repetition) for repetition in range(30)))
    assert "24 of 150 images are shown" in html


def test_it_says_what_the_header_meant_where_that_is_not_the_rule():
    example = example_reconstruction()
    geometry = dataclasses.replace(example.scan.geometry, phase_oversampling=1.5)
    scan = dataclasses.replace(example.scan, geometry=geometry, encoded_lines=(5, 28), n_acs_lines_apart=24)
    text = []
    for one in (example, dataclasses.replace(example, scan=scan)):
        facts = provenance(one, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
        text.append(" ".join(Page(render_report(one, facts, source_name="head.h5")).text))
    for fact in (
        "1.5; the image is cut out of 144 mm",
        "5 to 27 of 32 (partial Fourier or zero-padding)",
        "24, acquired apart from the image",
    ):
        assert fact in text[1]
    for rule in ("oversampling", "Encoded lines", "acquired apart"):
        assert rule not in text[0]


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
        "RAKI's linear kernel alone in 2 of 3 slices, GRAPPA in 1 of 3 slices",
        "1.2\N{NO-BREAK SPACE}% of their energy; GRAPPA 340\N{NO-BREAK SPACE}%",
        "0.98 (standard deviation), estimated from the lines",
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
    example = dataclasses.replace(example_reconstruction(with_maps=False), cross_validation=None)
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
    labels = [method_label(method) for method in methods()]
    assert len(set(labels)) == len(labels)
    assert not set(labels) & set(methods())
