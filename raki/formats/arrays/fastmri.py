"""Files of the fastMRI data sets and those made like them: HDF5 with a dataset `kspace`.

Its axes are slice, coil (not in single-coil files), readout and phase-encode: the undersampling `mask` is along the
last one. DC is at n // 2. The header `ismrmrd_header` is ISMRMRD's.

Zbontar et al. 2018, arXiv:1811.08839; Knoll et al. 2020, Radiol Artif Intell 2:e190007, doi:10.1148/ryai.2020190007.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from ismrmrd import xsd
from jaxtyping import Bool

from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.acquisitions import Format, OtherFormat
from raki.formats.arrays.description import Description
from raki.formats.arrays.scan import ArrayAcquisitions
from raki.formats.hdf5.array import HDF5_MAGIC, Hdf5Array, damage_is_named
from raki.formats.hdf5.opening import open_hdf5
from raki.formats.hdf5.table import read_text
from raki.scan.hdf5_members import own_dataset
from raki.scan.header import field_of_view_mm, matrix_size, parse_header

AXES = {4: ("slice", "coil", "ro", "pe"), 3: ("slice", "ro", "pe")}


@contextmanager
def open_fastmri(path: Path) -> Iterator[ArrayAcquisitions]:
    """Opens a file; reconstructions in it are left alone.

    The field of view and the image's matrix are the header's, the lines and samples those of the array. Without a
    header the image has pixels of 1 mm.

    Raises:
        NotAScan: HDF5 of another kind, or nothing but zeros.
        UnsupportedScan: k-space with other axes, or kept outside the file.
        DamagedScan: truncated or overwritten, or its parts contradict each other.
    """
    file = open_hdf5(path)
    try:
        with damage_is_named():
            stored = own_dataset(file, "kspace")
        if stored is None:
            raise OtherFormat(
                "the HDF5 file holds no dataset 'kspace'; raki needs raw data: export the scan, not images"
            )
        kspace = Hdf5Array(stored, "kspace", path)
        header = _header(file, path)
        description = _described(kspace.shape, header)
        sampled = _mask(file, path, description.sizes(kspace.shape)["pe"])
        yield ArrayAcquisitions(kspace, description, sampled=sampled, header=header)
    finally:
        with damage_is_named():
            file.close()


def _header(file: h5py.File, path: Path) -> xsd.ismrmrdHeader | None:
    with damage_is_named():
        stored = own_dataset(file, "ismrmrd_header")
    if stored is None:
        return None
    text = read_text(stored, "ismrmrd_header", path)
    if not text:
        raise DamagedScan("the 'ismrmrd_header' isn't a text; raki needs ISMRMRD's XML: export it again")
    return parse_header(text)


def _described(shape: tuple[int, ...], header: xsd.ismrmrdHeader | None) -> Description:
    """Axes and geometry; the field of view belongs to the distance of the lines, however many of them there are."""
    if len(shape) not in AXES:
        raise UnsupportedScan(
            f"the dataset 'kspace' is {' x '.join(map(str, shape)) or 'a single number'}; raki needs its axes slice, "
            "coil, readout and phase-encode, or these without coil: export it so"
        )
    axes = AXES[len(shape)]
    if header is None:
        return Description(axes=axes)
    encoding = header.encoding[0]
    recon_ro, recon_pe, _ = matrix_size(encoding.reconSpace)
    encoded_ro_mm, encoded_pe_mm, _ = field_of_view_mm(encoding.encodedSpace)
    recon_ro_mm, recon_pe_mm, slice_mm = field_of_view_mm(encoding.reconSpace)
    # Some of the headers ask for an image of more than was encoded.
    oversampling = max(1.0, encoded_ro_mm / recon_ro_mm), max(1.0, encoded_pe_mm / recon_pe_mm)
    n_columns = max(1, round(shape[-2] / oversampling[0]))
    n_rows = max(1, round(recon_pe * n_columns / recon_ro * min(1.0, encoded_pe_mm / recon_pe_mm)))
    encoded_rows = max(n_rows, round(n_rows * oversampling[1]))
    return Description(
        axes=axes,
        fov_mm=(n_columns * encoded_ro_mm / shape[-2], n_rows * encoded_pe_mm / encoded_rows, slice_mm),
        readout_oversampling=shape[-2] / n_columns,
        phase_oversampling=encoded_rows / n_rows,
        image_rows=n_rows,
    )


def _mask(file: h5py.File, path: Path, n_pe: int) -> Bool[np.ndarray, " pe"] | None:
    """The lines that were acquired, where the file says so."""
    with damage_is_named():
        stored = own_dataset(file, "mask")
    if stored is None:
        return None
    mask = Hdf5Array(stored, "mask", path)
    if np.prod(mask.shape, dtype=object) != n_pe or mask.dtype.kind not in "biuf":
        raise DamagedScan(
            f"the 'mask' is {' x '.join(map(str, mask.shape))} of {mask.dtype.name}; raki needs one number for each of "
            f"{n_pe} phase-encode lines: export the scan again"
        )
    return np.ravel(mask[(slice(None),) * len(mask.shape)]) != 0


FASTMRI = Format(
    name="fastMRI HDF5",
    suffixes=(".h5",),
    recognises=lambda start: start.startswith(HDF5_MAGIC),
    open=open_fastmri,
)
