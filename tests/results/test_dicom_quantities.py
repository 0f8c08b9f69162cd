"""Quantities in DICOM: true values within half a step, series of their own, derived frame for frame from the magnitude.

By hand the same files were held against `dciodvfy` of dicom3tools: no errors.
"""

from dataclasses import replace

import numpy as np
import pydicom
import pytest
import torch

from raki.coils import root_sum_of_squares
from raki.kspace import complete
from raki.phantom.phantom import phantom_kspace
from raki.results import Source, write_results
from raki.results.dicom_quantities import write_dicom_quantities
from raki.results.dicom_volume import write_dicom_volume
from raki.results.quantities import quantities_of, signal_to_noise
from raki.scan import Frame
from raki.scan.fourier import to_image
from tests.results.example_reconstruction import example_reconstruction

NAMES = ["g_factor", "standard_error", "structure_kept", "snr", "phase"]
TWO_FRAMES = (Frame(), Frame(repetition=1))


def with_phase(**asked):
    some = example_reconstruction(**asked)
    phase = np.random.default_rng(7).uniform(-np.pi, np.pi, some.result.shape).astype(np.float32)
    return replace(some, phase=phase)


def written(reconstruction, folder):
    """By name: each file as pydicom reads it."""
    paths = write_dicom_quantities(reconstruction, folder, source_sha256="ab")
    return {path.stem: pydicom.dcmread(path) for path in paths}


def scaling(image):
    (shared,) = image.SharedFunctionalGroupsSequence
    (rescaled,), (mapped,) = shared.PixelValueTransformationSequence, shared.RealWorldValueMappingSequence
    return rescaled, mapped


def test_values_come_back_within_half_a_step_by_rescaling_and_by_mapping(tmp_path):
    some = with_phase(frames=TWO_FRAMES)
    images = written(some, tmp_path)
    assert list(images) == NAMES
    for quantity in quantities_of(some):
        image = images[quantity.name]
        rescaled, mapped = scaling(image)
        stored = image.pixel_array.astype(np.float64)
        for slope, intercept in (
            (rescaled.RescaleSlope, rescaled.RescaleIntercept),
            (mapped.RealWorldValueSlope, mapped.RealWorldValueIntercept),
        ):
            values = stored * float(slope) + float(intercept)
            assert np.abs(values - quantity.volume).max() <= 0.5001 * float(slope), quantity.name
            assert float(slope) <= 1.0001 * np.ptp(np.append(quantity.volume, 0)) / 65535 or quantity.bounds
    assert [scaling(images[name])[1].MeasurementUnitsCodeSequence[0].CodeValue for name in NAMES] == [*"1111", "rad"]


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_a_standard_error_of_any_size_comes_back(tmp_path, scale):
    some = example_reconstruction()
    error = some.maps["standard_error"] * np.float32(scale)
    image = written(replace(some, maps={"standard_error": error}), tmp_path)["standard_error"]
    rescaled, _ = scaling(image)
    slope = float(rescaled.RescaleSlope)
    np.testing.assert_allclose(image.pixel_array * slope, error, atol=0.501 * slope)


def test_each_is_a_series_of_its_own_in_the_study_and_space_of_the_magnitude(tmp_path):
    some = with_phase()
    images = written(some, tmp_path)
    (path,) = write_dicom_volume(some, tmp_path / "image.dcm", source_sha256="ab")
    magnitude = pydicom.dcmread(path)
    everything = [magnitude, *images.values()]
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber", "SeriesDescription"):
        assert len({getattr(image, keyword) for image in everything}) == 6, keyword
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName"):
        assert len({getattr(image, keyword) for image in everything}) == 1, keyword
    assert [image.ComplexImageComponent for image in everything] == [*["MAGNITUDE"] * 5, "PHASE"]
    assert images["snr"].SeriesDescription == f"{magnitude.SeriesDescription}, SNR"


def test_frames_lie_where_those_of_the_magnitude_do_and_name_them_as_their_source(tmp_path):
    some = with_phase(frames=TWO_FRAMES)
    (path,) = write_dicom_volume(some, tmp_path / "image.dcm", source_sha256="ab")
    magnitude = pydicom.dcmread(path)
    for image in written(some, tmp_path).values():
        frames = zip(image.PerFrameFunctionalGroupsSequence, magnitude.PerFrameFunctionalGroupsSequence, strict=True)
        orientations = [each.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence for each in (image, magnitude)]
        assert orientations[0] == orientations[1]
        for number, (groups, of_magnitude) in enumerate(frames, 1):
            assert groups.PlanePositionSequence == of_magnitude.PlanePositionSequence
            (source,) = groups.DerivationImageSequence[0].SourceImageSequence
            assert source.ReferencedSOPInstanceUID == magnitude.SOPInstanceUID
            assert source.ReferencedFrameNumber == number
        (study,) = image.SourceImageEvidenceSequence
        (series,) = study.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == magnitude.SeriesInstanceUID


def test_there_is_what_the_reconstruction_has(tmp_path):
    assert list(written(example_reconstruction(with_maps=False), tmp_path)) == []
    some = example_reconstruction()
    unknown_noise = replace(some, scan=replace(some.scan, prewhitened=False))
    assert list(written(unknown_noise, tmp_path)) == ["g_factor", "standard_error", "structure_kept"]


def test_on_the_share_they_stand_only_where_they_were_asked_for(tmp_path):
    source = Source(name="scan.h5", sha256="ab", n_bytes=1)
    write_results(with_phase(), tmp_path, source=source, quantities=True)
    assert {path.stem for path in tmp_path.glob("*.dcm")} == {"image", *NAMES}
    (tmp_path / "manifest.json").unlink()
    write_results(with_phase(), tmp_path, source=source)
    assert [path.name for path in tmp_path.glob("*.dcm")] == ["image.dcm"]


def test_the_signal_to_noise_is_the_magnitude_over_what_many_noises_spread_it():
    """Slices that differ by their noise alone, filled by one linear kernel each."""
    n_copies = 24
    clean = torch.from_numpy(phantom_kspace(n_slices=1, n_coils=6, matrix=48))
    clean = clean * (40 / root_sum_of_squares(to_image(clean)).quantile(0.9))
    acquired = torch.zeros(48, dtype=torch.bool)
    acquired[1::2] = acquired[14:34] = True
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn((n_copies, *clean.shape[1:]), generator=generator, dtype=torch.complex64)
    noisy = torch.where(acquired[:, None], clean + noise, 0)
    known = torch.randn((6, 4096), generator=generator, dtype=torch.complex64)
    filled, report = complete(noisy, "raki_linear", noise=known, device="cpu", with_maps=True)
    images = root_sum_of_squares(to_image(filled)).numpy()
    example = example_reconstruction(n_slices=n_copies)
    scan = replace(
        example.scan,
        sampled=acquired.numpy(),
        encoded_lines=report.sampling.filled_lines(),
        geometry=replace(example.scan.geometry, matrix=(48, 48)),
    )
    maps = {"g_factor": torch.stack([one.g_factor for one in report.maps]).numpy()}
    snr = signal_to_noise(replace(example, images={"raki": images}, maps=maps, scan=scan))
    bright = images.mean(axis=0) > 15
    measured = images.mean(axis=0)[bright] / images.std(axis=0, ddof=1)[bright]
    assert np.median(snr.mean(axis=0)[bright] / measured) == pytest.approx(1, abs=0.1)
