"""The report says what was done and how far to trust it, and quotes nothing unescaped."""

import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from raki.kspace import EXPLANATION_PARTS, OppositeSides, methods
from raki.results.display import view_of
from raki.results.pictures import difference_factor
from raki.results.provenance import provenance
from raki.results.report import method_label, render_report
from raki.results.trust import ladder as ladder_of
from raki.results.viewer import ZERO_OF_PART
from raki.scan import ONE_FRAME, Frame
from tests.results.example_reconstruction import TILTED, WARNING, example_reconstruction
from tests.results.test_tiles import tiles_of

ECHOES = tuple(Frame(contrast=contrast) for contrast in range(3))
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
        if self._open[-1:] not in (["script"], ["style"]):
            self.text.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def report(source_name="head.h5", **example):
    reconstruction = example_reconstruction(**example)
    facts = provenance(reconstruction, sha256="ab" * 32, n_bytes=12345, scan_id=None, stage_seconds={"decompress": 2.0})
    return render_report(reconstruction, facts, source_name=source_name)


def viewer_of(html):
    """What the report's script is given."""
    (text,) = re.findall(r'<script type="application/json" id="viewer-data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def test_it_opens_anywhere_and_asks_for_nothing():
    html = report()
    page = Page(html)
    assert page.all("link") == page.all("iframe") == []
    assert re.findall(r"https?://|url\(|@import|\son\w+=|fetch\(|XMLHttpRequest|import\(", html) == []
    assert {attrs["src"].split(",")[0] for attrs in page.all("img")} == {
        "data:image/png;base64",
        "data:image/jpeg;base64",
    }


def test_a_browser_runs_no_other_script_and_loads_no_other_file():
    html = report()
    (policy,) = [attrs["content"] for attrs in Page(html).all("meta") if "http-equiv" in attrs]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert rules["img-src"] == ["data:"]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == [f"'sha256-{digest}'"]
    assert set(rules) == {"default-src", "img-src", "style-src", "script-src", "base-uri", "form-action"}
    assert html.index("Content-Security-Policy") < html.index("<style>")


def test_the_script_finds_all_that_it_looks_for():
    """Of a scan with everything; of a lesser one, controls may be missing."""
    html = report(n_slices=2, frames=ECHOES)
    script = (files("raki.results") / "templates/report.js").read_text()
    ids = {attrs["id"] for _, attrs in Page(html).elements if "id" in attrs}
    wanted = set(re.findall(r'(?:byId|listen)\("([\w-]+)"', script))
    assert wanted
    assert wanted <= ids


def test_whatever_a_site_calls_its_file_is_text():
    hostile = "<script>alert(1)</script>\" onload='x' & Müller.h5"
    html = report(source_name=hostile, notes=("a </ul><script>note</script>",))
    page = Page(html)
    assert len(page.all("script")) == 2
    assert "".join(page.text).count(hostile) == 2  # title and heading
    assert "a </ul><script>note</script>" in page.text


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is_one():
    # Of a file that was named in another encoding, or to turn round what follows.
    html = report(source_name="M\udcfcller \u202e5h.x\x1b[31m.h5")
    assert "".join(Page(html).text).count("M ller 5h.x [31m.h5") == 2
    html.encode()


def test_no_text_ends_the_viewers_data():
    example = example_reconstruction()
    hostile = "</script><script>alert(1)</script><!-- \u2028"
    facts = {**provenance(example, sha256="", n_bytes=1, scan_id=None, stage_seconds={}), "unit": hostile}
    html = render_report(example, facts, source_name="head.h5")
    assert len(Page(html).all("script")) == 2
    assert viewer_of(html)["unit"] == hostile


def tiles_by_layer(html):
    """Each image of each layer in the viewer, in the layer's values."""
    data, page = viewer_of(html), Page(html)
    on_page = [attrs["src"].split(",")[1] for attrs in page.all("img") if attrs.get("id", "").startswith("sheet-")]
    found = {}
    for layer in data["layers"]:
        jpegs = [sheet["jpeg"] or on_page[number] for number, sheet in enumerate(layer["sheets"])]
        found[layer["key"]] = {
            image: layer["low"] + (layer["high"] - layer["low"]) * tile
            for sheet, jpeg in zip(layer["sheets"], jpegs, strict=True)
            for image, tile in tiles_of(SimpleNamespace(**{**sheet, "jpeg": jpeg}))
        }
    return found


@pytest.mark.parametrize(("n_slices", "frames"), [(1, ONE_FRAME), (37, ONE_FRAME), (3, ECHOES)])
def test_all_slices_of_all_frames_are_in_the_viewer_by_each_method_and_with_each_map(n_slices, frames):
    example = example_reconstruction(n_slices=n_slices, frames=frames, with_explanation=True)
    found = tiles_by_layer(report(n_slices=n_slices, frames=frames, with_explanation=True))
    view = view_of(example.scan.geometry, 0, n_slices)
    raki, zero_filled, grappa, difference, *maps = found.values()
    maps, parts = maps[:3], maps[3:]
    assert list(found)[3:] == ["difference", "g_factor", "standard_error", "structure_kept", *EXPLANATION_PARTS]
    for tiles in found.values():
        assert list(tiles) == list(range(len(frames) * n_slices))
    for method, tiles in (("raki", raki), ("zero_filled", zero_filled), ("grappa", grappa)):
        for image, pixels in tiles.items():
            errors = [np.abs(view.turned(other) - pixels).mean() for other in example.images[method]]
            assert int(np.argmin(errors)) == image
            assert errors[image] < 0.3 * example.images[method].mean()
    for image, pixels in difference.items():
        expected = view.turned(0.01 * example.result[image])
        assert np.abs(expected - pixels).mean() < 0.2 * expected.mean()
    for name, tiles in zip(example.maps, maps, strict=True):
        np.testing.assert_allclose(tiles[0], view.turned(example.maps[name][0]), rtol=0.1, atol=0.05)

    for name, tiles in zip(EXPLANATION_PARTS, parts, strict=True):
        expected = view.turned(example.explanation[name][0])
        assert np.abs(expected - tiles[0]).mean() < 0.25 * np.abs(expected).mean()
        assert np.sign(tiles[0].mean()) == np.sign(expected.mean()), "what darkens is negative"


def test_parts_of_the_brightness_are_told_apart_from_maps_and_are_about_zero():
    layers = {layer["key"]: layer for layer in viewer_of(report(with_explanation=True))["layers"]}
    assert [key for key, layer in layers.items() if layer["is_part"]] == list(EXPLANATION_PARTS)
    for name in EXPLANATION_PARTS:
        assert layers[name]["is_overlay"]
        assert layers[name]["low"] == pytest.approx(-layers[name]["high"] * 128 / 127)
    assert not any(layer["is_part"] for layer in viewer_of(report())["layers"])
    assert f"const ZERO_OF_PART = {ZERO_OF_PART};" in (files("raki.results") / "templates/report.js").read_text()


def test_a_part_that_is_nothing_is_nothing_in_the_report_whatever_the_unit():
    """As GRAPPA changes nothing upon itself, and as the outer lines of a scan of a small unit."""
    example = example_reconstruction(with_explanation=True)
    nothing = {name: 0 * volume for name, volume in example.explanation.items()}
    nothing["leaned_2"][:, 3, 5] = 1  # one pixel, of 1
    example = dataclasses.replace(example, explanation=nothing)
    facts = provenance(example, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    tiles = tiles_by_layer(render_report(example, facts, source_name="head.h5"))
    for name in EXPLANATION_PARTS:
        assert np.median(np.abs(tiles[name][0])) < 1e-9


def test_a_hot_pixel_leaves_the_other_parts_their_steps():
    example = example_reconstruction(with_explanation=True)
    parts = {name: volume.copy() for name, volume in example.explanation.items()}
    result = example.result.copy()
    result[0, 3, 5] = parts["leaned_16"][0, 3, 5] = 1000 * result.max()
    hot = dataclasses.replace(example, images={**example.images, example.method: result}, explanation=parts)
    facts = provenance(example, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    layers, with_it = (
        {layer["key"]: layer for layer in viewer_of(render_report(one, facts, source_name="head.h5"))["layers"]}
        for one in (example, hot)
    )
    assert with_it["leaned_16"]["high"] < 2 * layers["leaned_16"]["high"]


def test_the_viewer_knows_what_images_are_called_and_how_they_lie():
    data = viewer_of(report(n_slices=2, frames=ECHOES))
    assert data["frames"] == ["contrast 1", "contrast 2", "contrast 3"]
    assert data["slices"] == ["1", "2"]
    assert data["start"] == 1
    assert data["view_of"] == [0] * 6
    (view,) = data["views"]
    assert view["plane"] == "axial"
    assert view["edges"] == {"left": "RA", "right": "LP", "top": "AL", "bottom": "PR"}
    assert (view["width_mm"], view["height_mm"]) == (80.0, 96.0)
    assert viewer_of(report())["frames"] == [""]


def test_the_report_on_a_hundred_slices_of_noise_has_all_of_them_in_six_megabytes():
    geometry = dataclasses.replace(TILTED, matrix=(256, 256))
    html = report(n_slices=100, geometry=geometry)
    assert len(html.encode()) < 6_000_000
    found = viewer_of(html)["layers"]
    assert sum(len(sheet["images"]) for sheet in found[0]["sheets"]) == 100
    # Nothing compresses worse than noise: other methods had to be thinned out, and it is said.
    n_compared = sum(len(sheet["images"]) for sheet in found[1]["sheets"])
    assert 24 <= n_compared < 100
    assert f"there for {n_compared} of the 100 images" in html


def test_of_thousands_of_images_frames_are_left_out_and_pictures_reduced_and_it_says_so(monkeypatch):
    monkeypatch.setattr("raki.results.viewer.IMAGES_AT_MOST", 60)
    monkeypatch.setattr("raki.results.viewer.VIEWER_BYTES", 90_000)
    frames = tuple(Frame(repetition=repetition) for repetition in range(30))
    geometry = dataclasses.replace(TILTED, matrix=(64, 80))
    html = report(n_slices=5, frames=frames, geometry=geometry, with_maps=False)
    assert "60 of 150 images are shown; the image files hold all of them" in html
    assert re.search(r"pictures are reduced to \d+ of 80 pixels a side", html)
    assert sum(len(sheet["jpeg"] or "") for layer in viewer_of(html)["layers"] for sheet in layer["sheets"]) < 90_000


def test_it_says_that_pictures_are_no_measurements():
    text = " ".join(Page(report()).text)
    high = viewer_of(report())["layers"][0]["high"]
    assert f"8 bits and are compressed with losses (JPEG). A stored value times {high / 255:.4g} is" in text
    assert "To measure, take image.h5" in text


def test_one_picture_of_each_kind_is_there_without_scripts_and_on_paper():
    pictures = [attrs["alt"] for attrs in Page(report(n_slices=2)).all("img")]
    changed = "|RAKI − GRAPPA| ×\N{NO-BREAK SPACE}50"  # noqa: RUF001
    assert pictures[:4] == [f"Slice 2, axial, {label}" for label in ("Zero-filled", "GRAPPA", "RAKI", changed)]
    assert [alt.split(",")[2] for alt in pictures[4:7]] == [" g-factor", " Standard error", " Small structure kept"]
    assert pictures[7:] == ["2 images, slice 1 to slice 2"]


def test_pictures_share_one_window_and_the_difference_is_magnified():
    """The example's zero-filled image is half the result, its GRAPPA image 1.01 times it."""
    images = [attrs["src"].split(",")[1] for attrs in Page(report(n_slices=1, with_maps=False)).all("img")]
    zero_filled, _, raki, difference, _ = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), dtype=float) for data in images
    )
    unclipped = raki < 255
    np.testing.assert_allclose(zero_filled[unclipped], raki[unclipped] / 2, atol=1)
    np.testing.assert_allclose(difference[unclipped], raki[unclipped] * 0.01 * 50, atol=1)


def test_frames_are_counted_where_there_are_several():
    text = " ".join(Page(report(n_slices=2, frames=ECHOES, notes=())).text)
    assert "3 contrasts" in text
    assert "5 of 6 images" in text
    assert "frame" not in " ".join(Page(report()).text).lower()


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
        "2.50 (lines of",
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


def test_without_training_nothing_is_said_of_it():
    html = report(n_steps=0)
    assert "<polyline" not in html
    assert "Training" not in html
    assert report().count("<polyline") == 2


@settings(derandomize=True, deadline=None)
@given(largest=st.floats(0, 1e6))
def test_the_magnified_difference_fits_the_window_or_is_not_magnified(largest):
    factor = difference_factor(largest, 1.0)
    assert factor == 1 or factor * largest <= 1.0


def test_it_says_what_was_chosen_and_how_far_that_held():
    text = " ".join(Page(report()).text)
    for fact in (
        "where points put into the scan stay as visible as GRAPPA shows them",
        "1.2\N{NO-BREAK SPACE}% of their energy; GRAPPA 340\N{NO-BREAK SPACE}%",
        "0.98 (standard deviation), estimated from the lines",
    ):
        assert fact in text


def test_it_shows_which_methods_were_tried_and_what_each_filled():
    text = " ".join(" ".join(Page(report()).text).split())
    ladder = text[text.index("Tried, from the plainest up") : text.index("g-factor: how many times")]
    counts = [("Zero-filled", "never"), ("GRAPPA", "1 of 3 slices"), ("linear kernel", "2 of 3"), ("RAKI", "0 of 3")]
    for rung, said in counts:
        ladder = ladder[ladder.index(rung) :]
        assert said in ladder
    linear = dataclasses.replace(example_reconstruction(), method="raki_linear")
    assert [rung.label for rung in ladder_of(linear)] == ["Zero-filled", "GRAPPA", "RAKI's linear kernel alone"]


def test_warnings_and_what_was_decided_stand_once_and_before_the_pictures():
    example = example_reconstruction(notes=("A note.",))
    scan = dataclasses.replace(example.scan, remarks=("Two frames were not complete and were left out.",))
    example = dataclasses.replace(example, scan=scan)
    facts = provenance(example, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    html = render_report(example, facts, source_name="head.h5")
    first_picture = min(html.index("<canvas"), html.index("<img"))
    for sentence in (WARNING, *scan.remarks):
        assert html.count(sentence) == 1
        assert html.index("Before you look") < html.index(sentence) < first_picture
    assert html.index("Notes on this scan") < html.index("A note.")


def test_a_fully_sampled_scan_has_one_picture_and_a_short_report():
    example = example_reconstruction(with_maps=False, n_steps=0)
    scan = dataclasses.replace(example.scan, acceleration=1, sampled=np.ones(32, bool), acs_lines=(0, 32))
    images = dict.fromkeys(example.images, example.result)
    full = dataclasses.replace(example, scan=scan, images=images, cross_validation=None)
    facts = provenance(full, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    html = render_report(full, facts, source_name="head.h5")
    page = Page(html)
    assert [layer["label"] for layer in viewer_of(html)["layers"]] == ["All acquired lines"]
    assert [attrs["alt"] for attrs in page.all("img")] == [
        "Slice 2, axial, All acquired lines",
        "3 images, slice 1 to slice 3",
    ]
    for left_out in (
        "Training",
        "Time",
        "How far to trust",
        "GRAPPA",
        "differs from",
        "Overlay",
        "Compare",
        "ACS",
        "Net acc",
    ):
        assert left_out not in " ".join(page.text[page.text.index("Images") : page.text.index("Provenance")])
    assert "nothing had to be filled in" in html


def test_partial_fourier_is_said_before_one_looks_and_compared_with_zeros():
    example = example_reconstruction(with_maps=False, n_steps=0)
    sides = OppositeSides(
        missing_part=0.25, n_slices_by_filling={"virtual_coils": 2, "zeros": 1}, held_out_error=0.2, n_slices=3
    )
    scan = dataclasses.replace(
        example.scan, acceleration=1, encoded_lines=(8, 32), sampled=np.arange(32) >= 8, acs_lines=(8, 32)
    )
    notes = tuple(sides.notes())
    half = dataclasses.replace(example, scan=scan, opposite=sides, cross_validation=None, notes=notes)
    facts = provenance(half, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    html = render_report(half, facts, source_name="head.h5")
    first_picture = min(html.index("<canvas"), html.index("<img"))
    for sentence in notes:
        assert html.count(sentence) == 1
        assert html.index("Before you look") < html.index(sentence) < first_picture
    assert "25% of k-space" in notes[0]
    assert "by kernels over virtual conjugate coils in 2 of 3 slices" in notes[0]
    assert "in 1 of 3 slices 25% of k-space stay zero" in notes[1]
    assert {layer["label"] for layer in viewer_of(html)["layers"]} >= {"Zero-filled", "All acquired lines"}
    # 96 mm: 8 lines on one side of the centre are 6 mm, 15 on the other 3.2 mm.
    assert "6 mm along phase-encode on both sides, 3.2 on one" in html
    assert facts["partial_fourier"] == {
        "n_slices_by_filling": {"virtual_coils": 2, "zeros": 1}, "missing_part": 0.25, "held_out_error": 0.2
    }  # fmt: skip


def test_a_method_that_could_be_compared_with_none_has_one_picture():
    example = example_reconstruction(with_maps=False)
    alone = dataclasses.replace(
        example,
        method="zero_filled",
        images={"zero_filled": example.images["zero_filled"]},
        cross_validation=None,
    )
    facts = provenance(alone, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    html = render_report(alone, facts, source_name="head.h5")
    assert [layer["label"] for layer in viewer_of(html)["layers"]] == ["Zero-filled"]
    assert "differs from" not in html


def test_nothing_is_said_of_trust_where_nothing_is_known():
    example = dataclasses.replace(example_reconstruction(with_maps=False), cross_validation=None)
    facts = provenance(example, sha256="", n_bytes=1, scan_id=None, stage_seconds={})
    assert "How far to trust" not in render_report(example, facts, source_name="head.h5")
    plain = viewer_of(report(with_maps=False))
    assert [layer["key"] for layer in plain["layers"]][3:] == ["difference"]


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
