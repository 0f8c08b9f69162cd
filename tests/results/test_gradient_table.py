"""Diffusion tables beside the NIfTI image: FSL's form, whatever way the slices lie."""

from dataclasses import replace

import nibabel
import numpy as np
import pytest
from ismrmrd import xsd

from raki.results.gradient_table import write_gradient_table
from raki.results.image_files import write_nifti
from raki.scan import Frame, Geometry

PLAIN = Geometry(fov_mm=(64.0, 64.0, 4.0), matrix=(8, 8), slice_spacing_mm=4.0)
TABLE = [(0.0, (0.0, 0.0, 0.0)), (1000.0, (1.0, 0.0, 0.0)), (1000.0, (0.0, 2.0, 0.0)), (2000.0, (0.6, 0.0, 0.8))]


def header(dimension="repetition", table=TABLE):
    weighted = [
        xsd.diffusionType(gradientDirection=xsd.gradientDirectionType(rl=x, ap=y, fh=z), bvalue=b)
        for b, (x, y, z) in table
    ]
    sequence = xsd.sequenceParametersType(diffusion=weighted, diffusionDimension=xsd.diffusionDimensionType(dimension))
    conditions = xsd.experimentalConditionsType(H1resonanceFrequency_Hz=1)
    return xsd.ToXML(xsd.ismrmrdHeader(experimentalConditions=conditions, sequenceParameters=sequence))


def written(tmp_path, xml, frames, geometry=PLAIN):
    files = write_gradient_table(xml, tmp_path / "image.nii.gz", geometry=geometry, frames=frames)
    return [np.atleast_2d(np.loadtxt(file)) for file in files]


def repetitions(n):
    return tuple(Frame(repetition=number) for number in range(n))


def test_a_column_a_frame_with_b_and_a_direction_of_unit_length(tmp_path):
    b_values, b_vectors = written(tmp_path, header(), repetitions(4))
    assert b_values.tolist() == [[0, 1000, 1000, 2000]]
    assert np.allclose(np.linalg.norm(b_vectors, axis=0), [0, 1, 1, 1], atol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_the_direction_is_the_patients_again_by_the_images_own_affine(tmp_path, seed):
    chance = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(chance.normal(size=(3, 3)))
    read, phase, slice_ = (tuple(map(float, axis)) for axis in axes.T)
    geometry = replace(PLAIN, read_direction=read, phase_direction=phase, slice_direction=slice_)
    _, b_vectors = written(tmp_path, header(), repetitions(4), geometry)
    image = tmp_path / "image.nii.gz"
    volume = np.zeros((4, 8, 8), np.float32)
    write_nifti(volume, image, geometry=geometry, frames=repetitions(4), description="x")
    affine = nibabel.load(image).affine[:3, :3]
    # As FSL reads it: the first axis is turned where the affine is right-handed.
    turned = np.diag([-1.0 if np.linalg.det(affine) > 0 else 1.0, 1.0, 1.0])
    in_patient_ras = (affine / np.linalg.norm(affine, axis=0)) @ turned @ b_vectors
    wanted = np.array([[0, 0, 0], [-1, 0, 0], [0, -1, 0], [-0.6, 0, 0.8]]).T  # left and back are negative in RAS
    assert np.allclose(in_patient_ras, wanted, atol=1e-5)


def test_the_counter_that_the_header_names_decides(tmp_path):
    frames = (Frame(set=2), Frame(set=0), Frame(set=1))
    b_values, _ = written(tmp_path, header("set"), frames)
    assert b_values.tolist() == [[1000, 0, 1000]]
    assert written(tmp_path, header("user_3"), frames)[0].tolist() == [[1000, 0, 1000]], "they are counted as sets"


@pytest.mark.parametrize(
    ("xml", "frames"),
    [
        (header(), repetitions(5)),
        (header(), repetitions(1)),
        (header("average"), repetitions(4)),
        (header(table=[]), repetitions(4)),
        ("", repetitions(4)),
    ],
)
def test_where_not_every_frame_has_its_weighting_there_is_no_table(tmp_path, xml, frames):
    assert written(tmp_path, xml, frames) == []
    assert not list(tmp_path.iterdir())
