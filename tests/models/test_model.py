"""Three steps from a name to an image, and what stands in the way of a scan that a model isn't for."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

import raki
from raki.errors import BadModel, ModelMismatch, NoCalibration, WrongOptions
from raki.images import nmse, object_mask
from raki.models.choosing import chosen_model
from raki.models.matching import check_scan
from raki.models.monai import write_bundle
from raki.names import OPTIONS_FILE
from raki.options import choose
from raki.results import Source, write_results
from raki.results.report import render_report
from raki.scan.geometry import Place
from tests.models.conftest import prepared, scan_file


@pytest.fixture(scope="module")
def bare(place):
    return prepared(place.bare)


def made(place, **settings):
    return raki.models.make("raki_linear", {"device": "cpu", **settings}).set_weights("head-6ch", store=place.store)


def test_the_three_steps_fill_an_array_that_cannot_be_calibrated(place, bare):
    kspace = np.array(bare.kspace)
    with pytest.raises(NoCalibration):
        raki.models.make("raki_linear", {"device": "cpu"}).set_weights("this scan").run(kspace)
    model = made(place)
    filled = model.run(kspace)
    assert isinstance(filled, np.ndarray)
    np.testing.assert_array_equal(filled[..., bare.sampled, :], kspace[..., bare.sampled, :])
    assert all(use.is_used for use in model.report.stored)
    assert torch.equal(model.run(torch.from_numpy(kspace)), torch.from_numpy(filled))
    with pytest.raises(ModelMismatch, match="1 images of 6 coils, and the model is for 2 of 6"):
        model.run(kspace[:1])
    with pytest.raises(ModelMismatch, match="5 coils"):
        model.run(kspace[:, :5])


def test_stored_weights_make_their_own_image_bit_for_bit(place):
    result = made(place, judged=False).reconstruct(place.scan, with_maps=False)
    assert result.model.n_used == 2
    np.testing.assert_array_equal(result.result, place.reconstruction.result)


def test_weights_are_taken_from_wherever_they_stand(place):
    by_path = [place.kept.folder, str(place.kept.folder), place.result, place.result / "weights.safetensors"]
    for weights in by_path:
        model = raki.models.make("raki_linear").set_weights(weights)
        assert model.stored.made_for == place.kept.document.made_for
    assert model.set_weights("this scan").stored is None
    with pytest.raises(BadModel, match=r"are of the method raki_linear and the model is raki: raki.models.make"):
        raki.models.make("raki").set_weights(place.kept.folder)
    with pytest.raises(BadModel, match="there is no file of weights at nothing"):
        model.set_weights(place.folder / "nothing")


def test_what_there_is_not_cannot_be_made():
    with pytest.raises(ValueError, match="grappa, raki_linear, raki"):
        raki.models.make("rraki")
    with pytest.raises(ValueError, match="there are seed, mismatch, judged, device"):
        raki.models.make("raki", {"sed": 1})


def test_a_scan_without_calibration_lines_becomes_an_image_and_says_how(place, bare, tmp_path):
    result = made(place).reconstruct(bare, with_maps=False)
    assert list(result.images) == ["zero_filled", "raki_linear"], "GRAPPA has nothing to calibrate on"
    assert (result.model.n_used, result.model.digest) == (2, place.kept.digest)
    reference = torch.from_numpy(place.reconstruction.result)
    mask = object_mask(reference)
    errors = {name: nmse(torch.from_numpy(image), reference, mask) for name, image in result.images.items()}
    assert errors["raki_linear"] < errors["zero_filled"] / 5
    write_results(result, tmp_path, source=Source.of(place.bare))
    facts = json.loads((tmp_path / "provenance.json").read_text())["model"]
    assert (facts["name"], facts["version"], facts["digest"]) == ("head-6ch", "1", place.kept.digest)
    assert (facts["n_used"], facts["n_images"]) == (2, 2)
    assert all(image["used"] and image["error"] is not None for image in facts["images"])
    report = (tmp_path / "report.html").read_text()
    assert "2 of 2 images by weights of another scan, of the model head-6ch@1" in report
    assert "The model head-6ch@1" in report
    assert "learning from this scan alone" not in report


def test_a_result_without_a_model_learns_from_its_scan_alone(place):
    facts = json.loads((place.result / "provenance.json").read_text())
    assert facts["model"] is None
    assert "learning from this scan alone" in render_report(place.reconstruction, facts, source_name="a.h5")


def moved(scan, mm):
    x, y, z = scan.geometry.position_mm
    return replace(scan, geometry=replace(scan.geometry, position_mm=(x, y, z + mm)))


def turned(scan):
    return replace(
        scan, geometry=replace(scan.geometry, read_direction=(0.0, 1.0, 0.0), phase_direction=(-1.0, 0.0, 0.0))
    )


def larger(scan):
    read, phase, depth = scan.geometry.fov_mm
    return replace(scan, geometry=replace(scan.geometry, fov_mm=(read, 1.02 * phase, depth)))


def stronger(scan):
    xml = scan.header_xml
    assert "2.89" in xml
    return replace(scan, header_xml=xml.replace("2.89", "7"))


def fewer_coils(scan):
    return replace(scan, kspace=np.array(scan.kspace)[:, :5], noise=None)


def denser(scan):
    sampled = np.zeros_like(scan.sampled)
    sampled[::2] = True
    return replace(scan, sampled=sampled)


def not_whitened(scan):
    return replace(scan, prewhitened=False)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda scan: moved(scan, 3.0), r"For 2 of 2 images .* no weights of their place \(the nearest is 3 mm"),
        (lambda scan: moved(scan, 10.0), "For 1 of 2 images|For 2 of 2 images"),
        (turned, "For 2 of 2 images"),
        (larger, "field of view of 220 x 220 mm .* and the scan has 224.4 x 220"),
        (stronger, "is for 2.89 T and the scan was made at 7 T"),
        (fewer_coils, "is for 6 coils and the scan has 5"),
        (denser, "fills R=3 and the scan has R=2"),
        (not_whitened, "model's coils were decorrelated by a noise scan, and the scan's were not"),
    ],
)
def test_a_scan_that_the_weights_are_not_for_is_refused_by_what_differs(place, bare, change, says):
    scan, model = change(bare), made(place)
    check = model.check(scan)
    assert not check.fits
    assert None in check.which
    with pytest.raises(ModelMismatch, match=says):
        model.reconstruct(scan)


def test_what_does_not_decide_is_only_said(place, bare):
    model = made(place)
    check = model.check(bare)
    assert check.fits
    assert check.which == (0, 1)
    assert any("names aren't known on both sides" in sentence for sentence in check.sentences)
    assert any("no calibration lines" in fact for fact in check.facts)
    assert any("On cpu it takes about" in fact for fact in check.facts)
    assert model.check(moved(bare, 0.3)).fits
    unplaced = replace(bare, geometry=replace(bare.geometry, is_oriented=False))
    assert model.check(unplaced).fits
    assert any("taken on trust, image by image" in sentence for sentence in model.check(unplaced).sentences)


def test_weights_go_with_the_place_and_not_with_the_number(place, bare):
    geometry = bare.geometry
    first, second = (geometry.place_of(index, 2) for index in range(2))
    assert isinstance(first, Place)
    other_way = replace(bare, kspace=np.array(bare.kspace)[::-1], geometry=replace(geometry, places=(second, first)))
    assert made(place).check(other_way).which == (1, 0)
    result = made(place).reconstruct(other_way, with_maps=False)
    straight = made(place).reconstruct(bare, with_maps=False)
    np.testing.assert_array_equal(result.result[::-1], straight.result)


def named(scan, names):
    labels = "".join(
        f"<coilLabel><coilNumber>{n}</coilNumber><coilName>{name}</coilName></coilLabel>" for n, name in names
    )
    head, tail = scan.header_xml.split("</acquisitionSystemInformation>")
    return replace(scan, header_xml=f"{head}{labels}</acquisitionSystemInformation>{tail}")


def test_coils_are_compared_by_name_and_order(place, bare):
    stored = place.kept.weights()
    order = [(n, f"H{n}") for n in range(6)]
    stored = replace(stored, made_for=stored.made_for.model_copy(update={"coil_names": tuple(n for _, n in order)}))
    assert check_scan(stored, named(bare, order)).fits
    swapped = [(0, "H1"), (1, "H0"), *order[2:]]
    assert "in another order" in check_scan(stored, named(bare, swapped)).sentences[0]
    other = [(0, "B0"), *order[1:]]
    assert "others than the model's: B0" in check_scan(stored, named(bare, other)).sentences[0]


def test_a_scan_of_another_place_is_calibrated_on_itself_where_that_is_asked_for(place):
    scan = moved(place.scan, 3.0)
    own = raki.reconstruct(scan, method="raki_linear", device="cpu", with_maps=False)
    result = made(place, mismatch="own").reconstruct(scan, with_maps=False)
    np.testing.assert_array_equal(result.result, own.result)
    assert (result.model.n_used, result.model.uses) == (0, (None, None))
    assert any("1.4 to 39 times the error" in note for note in result.notes)


def test_the_model_that_options_name_is_pinned_in_what_is_kept_of_them(place, bare):
    chosen = choose({OPTIONS_FILE: {"model": "head-6ch"}})
    brought = chosen_model(chosen, bare, store=place.store)
    assert brought.chosen.options.model == place.kept.pinned
    assert (brought.chosen.options.method, brought.chosen.set_by["method"]) == ("raki_linear", "model")
    assert asdict(choose({}).options)["model"] == "none"
    assert chosen_model(choose({}), bare, store=place.store).model is None
    for asked in ({"method": "raki2019"}, {"coils": 4}):
        with pytest.raises(WrongOptions, match=r"leave .* out, or the model"):
            chosen_model(choose({OPTIONS_FILE: {"model": "head-6ch", **asked}}), bare, store=place.store)
    of_deployment = choose({"deployment": {"coils": 4, "method": "grappa"}, OPTIONS_FILE: {"model": "head-6ch"}})
    assert chosen_model(of_deployment, bare, store=place.store).chosen.options.coils == 0


def test_a_bundle_for_monai_has_facts_and_numbers_and_no_code(place, tmp_path):
    files = write_bundle(place.kept, tmp_path / "bundle")
    assert {path.suffix for path in files} == {".json", ".md", ".safetensors"}
    metadata = json.loads((tmp_path / "bundle/configs/metadata.json").read_text())
    assert metadata["network_data_format"]["inputs"]["kspace"]["num_channels"] == 6
    needed = ("version", "changelog", "monai_version", "pytorch_version", "numpy_version", "task", "description")
    assert all(key in metadata for key in needed)
    with pytest.raises(BadModel, match="is there already"):
        write_bundle(place.kept, tmp_path / "bundle")


def test_many_lines_of_its_own_are_compared_with_the_weights(place, tmp_path):
    scan = prepared(scan_file(tmp_path / "c.h5", n_acs_lines=20, seed=5))
    result = made(place).reconstruct(scan, with_maps=False)
    assert all(use.own_judged is not None for use in result.model.uses)
    assert any("Outside the ACS:" in note for note in result.notes)
