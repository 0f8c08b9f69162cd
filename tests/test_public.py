"""What `import raki` offers: named, explained with an example that runs, and wary of axes that can't be right."""

import doctest
import inspect
import warnings
from importlib import import_module
from importlib.metadata import version

import numpy as np
import pytest
import torch

import raki
from raki.results.display import View
from tests.kspace.simulated_slices import acquired, full_slice
from tests.results.example_reconstruction import example_reconstruction

FUNCTIONS = [name for name in raki.__all__ if not inspect.isclass(getattr(raki, name))]


def test_dir_shows_the_public_interface_and_nothing_else():
    assert raki.__version__ == version("raki-mri")
    shown = {name for name in dir(raki) if not name.startswith("__")}
    assert shown == set(raki.__all__)
    assert raki.__all__ == sorted(raki.__all__)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_says_its_types_and_shows_an_example_that_runs(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    function = getattr(raki, name)
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
    found = doctest.DocTestFinder(recurse=False).find(function, name, globs={"raki": raki, "np": np})
    assert any(test.examples for test in found)
    for test in found:
        assert doctest.DocTestRunner().run(test).failed == 0


def undersampled():
    kspace = full_slice(matrix=32).numpy()
    kspace[:, ~np.asarray(acquired(32, 2))] = 0
    return kspace


def test_arrays_of_any_kind_are_taken():
    kspace = undersampled()
    filled = raki.complete_kspace(kspace, "grappa")
    np.testing.assert_array_equal(raki.complete_kspace(kspace.tolist(), "grappa"), filled)
    of_tensor = raki.complete_kspace(torch.from_numpy(kspace), "grappa")
    assert isinstance(of_tensor, torch.Tensor)
    np.testing.assert_array_equal(of_tensor.numpy(), filled)


@pytest.mark.parametrize(
    ("axes", "says"), [((0, 2, 1), "swap them with numpy.swapaxes"), ((1, 2, 0), "if the coils are last")]
)
def test_axes_that_cannot_be_right_are_warned_of(axes, says):
    kspace = np.zeros((4, 144, 144), np.complex64)
    kspace[:, ::2] = kspace[:, 60:84] = 1
    with pytest.warns(UserWarning, match=says) as told:
        raki.complete_kspace(kspace.transpose(axes), "zero_filled")
    assert len(told) == 1


@pytest.mark.parametrize("shape", [(1, 8, 8), (128, 32, 16), (2, 4, 200, 24)])
def test_odd_shapes_that_scans_have_are_not_warned_of(shape):
    kspace = np.ones(shape, np.complex64)
    kspace[..., : shape[-1] // 3] = 0  # an asymmetric echo
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raki.complete_kspace(kspace, "zero_filled")


def test_show_makes_one_picture_of_images_or_of_a_reconstruction(monkeypatch):
    result = example_reconstruction()
    lettered = raki.show(result, size=96)
    assert lettered.mode == "L"
    with monkeypatch.context() as patch:
        patch.setattr(View, "edges", {})
        turned = raki.show(result, size=96)
    assert lettered.tobytes() != turned.tobytes(), "letters stand at the edges"
    assert turned.tobytes() != raki.show(result.result, size=96).tobytes(), "an array is shown as it lies"
    assert raki.show(torch.eye(20, dtype=torch.complex64), size=40).size == (40, 40)
    assert raki.show(np.ones((30, 16, 32)), most=4, size=32).size == (2 * 32 + 4, 2 * 16 + 4)
    with pytest.raises(ValueError, match="row, column"):
        raki.show(np.ones(3))
    assert import_module("raki.results.notebook").show is raki.show
