"""Image files: ISMRMRD and NIfTI for programs, PNG for people; see `raki.results.preview` for the picture of a scan.

A volume is `slice row column`; rows run along phase-encode, columns along readout. Since DC of k-space is at
`n // 2`, pixel (n_rows // 2, n_columns // 2) of slice s lies at position + s · spacing · slice direction. Where there
are several frames, a volume has the slices of the first, then those of the next.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import ismrmrd
import nibabel
import numpy as np
from jaxtyping import Float32, Float64, UInt16
from PIL import Image

from raki.scan import ONE_FRAME, Frame, Geometry, slices_of_a_frame
from raki.scan.arrays import Volume

Slice = Float32[np.ndarray, "row column"]


def write_ismrmrd_image(
    volume: Volume,
    path: Path,
    *,
    geometry: Geometry,
    frames: tuple[Frame, ...] = ONE_FRAME,
    header_xml: str,
    comment: str,
) -> None:
    """One magnitude image for each slice of each frame, as `image_0` of the group `dataset`, replacing the file.

    `comment` says what made the images and in which unit they are.

    Raises:
        ValueError: a pixel is not finite, or the frames have not the same number of slices.

    Inati et al. 2017, Magn Reson Med 77:411-421, doi:10.1002/mrm.26089.
    """
    require_finite(volume)
    slices_of_a_frame(len(volume), frames)
    with ismrmrd.Dataset(path, mode="w") as dataset:
        dataset.write_xml_header(header_xml.encode())
        for image in ismrmrd_images(volume, geometry=geometry, frames=frames, attributes={"ImageComments": comment}):
            dataset.append_image("image_0", image)


def ismrmrd_images(
    volume: Volume | UInt16[np.ndarray, "slice row column"],
    *,
    geometry: Geometry,
    frames: tuple[Frame, ...] = ONE_FRAME,
    attributes: Mapping[str, str],
) -> Iterator[ismrmrd.Image]:
    """One magnitude image for each slice of each frame, with its place in the patient.

    Args:
        attributes: ISMRMRD's MetaAttributes, alike for all; those that every image has are added.

    Raises:
        ValueError: as `write_ismrmrd_image`.
    """
    require_finite(volume)
    n_slices = slices_of_a_frame(len(volume), frames)
    meta = ismrmrd.Meta({"DataRole": "Image", **attributes}).serialize()
    for index, pixels in enumerate(volume):
        place = geometry.place_of(index, n_slices)
        image = ismrmrd.Image.from_array(
            pixels,
            field_of_view=geometry.fov_mm,
            position=place.position_mm,
            read_dir=place.read_direction,
            phase_dir=place.phase_direction,
            slice_dir=place.slice_direction,
            slice=index % n_slices,
            **asdict(frames[index // n_slices]),
            image_index=index + 1,
            image_type=ismrmrd.IMTYPE_MAGNITUDE,
        )
        image.attribute_string = meta
        yield image


def write_niftis(
    volume: Volume,
    path: Path,
    *,
    geometry: Geometry,
    frames: tuple[Frame, ...] = ONE_FRAME,
    frame_step_s: float | None = None,
    description: str,
) -> list[Path]:
    """`NAME.nii.gz`, or where slices lie on several grids `NAME-1.nii.gz` and so on, one for each, in their order.

    NIfTI knows one grid a file. Where the frames lie in different places there is none for all of them, and no file is
    written. Files of these names that are there already go. Raises as `write_nifti`.
    """
    name = path.name.removesuffix(".nii.gz")
    for stale in (path, *path.parent.glob(f"{name}-[0-9]*.nii.gz")):
        stale.unlink(missing_ok=True)
    n_slices = slices_of_a_frame(len(volume), frames)
    if len(geometry.places) > n_slices:
        return []
    stacks = list(geometry.stacks(n_slices))
    by_frame = volume.reshape(len(frames), n_slices, *volume.shape[1:])
    written = []
    for number, (slices, grid) in enumerate(stacks, 1):
        stack_path = path if len(stacks) == 1 else path.with_name(f"{name}-{number}.nii.gz")
        pixels = by_frame[:, slices].reshape(-1, *volume.shape[1:])
        write_nifti(
            pixels, stack_path, geometry=grid, frames=frames, frame_step_s=frame_step_s, description=description
        )
        written.append(stack_path)
    return written


def write_nifti(
    volume: Volume,
    path: Path,
    *,
    geometry: Geometry,
    frames: tuple[Frame, ...] = ONE_FRAME,
    frame_step_s: float | None = None,
    description: str,
) -> None:
    """NIfTI-1 of slices on an even grid. `description`: at most 79 characters.

    Axes are readout, phase-encode, slice; mm, scanner coordinates.

    Where there are several frames, they are the fourth axis: in seconds where `frame_step_s` is known, else of no unit,
    for they need not be of different times.

    Raises:
        ValueError: a pixel is not finite, the frames have not the same number of slices, or the description is too long
            for its field.

    https://nifti.nimh.nih.gov/nifti-1
    """
    require_finite(volume)
    if len(description.encode()) > 79:
        raise ValueError(f"a NIfTI description has at most 79 bytes, this one {len(description.encode())}")
    affine = affine_ras_mm(geometry)
    by_frame = volume.reshape(len(frames), slices_of_a_frame(len(volume), frames), *volume.shape[1:])
    pixels = (by_frame if len(frames) > 1 else by_frame[0]).T
    image = nibabel.Nifti1Image(np.ascontiguousarray(pixels), affine)
    image.header.set_xyzt_units("mm")
    if len(frames) > 1 and frame_step_s is not None:
        image.header.set_xyzt_units("mm", "sec")
        image.header.set_zooms((*image.header.get_zooms()[:3], frame_step_s))
    image.header["descrip"] = description.encode()
    # NIfTI-1, nifti1.h: "scanner" says where it lies in the patient, "aligned" leaves open to what.
    code = "scanner" if geometry.is_oriented else "aligned"
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    nibabel.save(image, path)


def affine_ras_mm(geometry: Geometry) -> Float64[np.ndarray, "4 4"]:
    """From (column, row, slice) to mm. Geometry is LPS, NIfTI is RAS: the first two coordinates change sign."""
    n_rows, n_columns = geometry.matrix
    fov_read_mm, fov_phase_mm, _ = geometry.fov_mm
    affine = np.eye(4)
    affine[:3, 0] = np.multiply(geometry.read_direction, fov_read_mm / n_columns)
    affine[:3, 1] = np.multiply(geometry.phase_direction, fov_phase_mm / n_rows)
    affine[:3, 2] = np.multiply(geometry.slice_direction, geometry.slice_spacing_mm)
    affine[:3, 3] = geometry.position_mm - affine[:3, :2] @ (n_columns // 2, n_rows // 2)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def window_top(volume: Volume) -> float:
    """The magnitude shown as white: few pixels are brighter, so that one hot vessel doesn't darken the picture."""
    return float(np.percentile(volume, 99.7)) or float(volume.max()) or 1.0


def png(pixels: Slice, *, top: float, longest: int = 384) -> bytes:
    """An 8-bit greyscale PNG, black at 0 and white from `top` on, reduced to at most `longest` pixels a side."""
    picture = grey(pixels, top)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def evenly_spaced(n: int, at_most: int) -> list[int]:
    """Indices to show of n slices or frames: all of them, or `at_most`, the first and the last among them."""
    if n <= at_most:
        return list(range(n))
    return [round(index * (n - 1) / (at_most - 1)) for index in range(at_most)]


def grey(pixels: Slice, top: float) -> Image.Image:
    """An 8-bit greyscale picture, black at 0 and white from `top` on."""
    return Image.fromarray(np.rint(np.clip(pixels / np.float32(top), 0, 1) * 255).astype(np.uint8))


def require_finite(volume: Volume | UInt16[np.ndarray, "slice row column"]) -> None:
    """Raises ValueError where a pixel isn't finite."""
    n_bad = int(np.count_nonzero(~np.isfinite(volume)))
    if n_bad:
        raise ValueError(f"{n_bad} pixels are not finite; no image file is written of them")
