"""BART as an opponent: ESPIRiT maps and parallel imaging with a regularised image, by the program `bart`.

The program reads and writes pairs of files: a text `.hdr` with sixteen dimensions, of which readout, phase-encode and
coils are the first, second and fourth, partitions of a 3-D scan the third, and a `.cfl` of complex64 with the first
dimension running fastest, as it does in an array with axes coil, (pe2,) pe, ro. Both sides have DC at `n // 2` and
unitary transforms.

Uecker et al. 2015, Proc ISMRM 23:2486; Uecker et al. 2014, Magn Reson Med 71:990-1001, doi:10.1002/mrm.24751 (the
maps); Lustig et al. 2007, Magn Reson Med 58:1182-1195, doi:10.1002/mrm.21391 (sparse in wavelets).
"""

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from jaxtyping import Complex64

# Weights of the regularisation where BART has scaled the data, as it does by itself.
L2_WEIGHTS = (0.001, 0.003, 0.01, 0.03, 0.1)
L1_WEIGHTS = (0.0005, 0.001, 0.002, 0.005, 0.01)
L2_DEFAULT, L1_DEFAULT = 0.01, 0.005
N_ITERATIONS = 60


def why_no_bart() -> str:
    """What keeps BART from being run here; nothing if it can be."""
    return "" if shutil.which("bart") else "the program bart, not installed here (mrirecon.github.io/bart)"


def l2(weight: float) -> tuple[str, ...]:
    """Options of `bart pics`: Tikhonov, by conjugate gradients."""
    return ("-l2", f"-r{weight}")


def l1(weight: float, *, n_axes: int = 2) -> tuple[str, ...]:
    """Options of `bart pics`: L1 norm of a wavelet transform over the image's 2 or 3 axes (flags 3, 7), by FISTA."""
    return ("-e", "-R", f"W:{2**n_axes - 1}:0:{weight}")


def bart_kspace(
    measured: Complex64[np.ndarray, "coil *pe ro"], regularisation: tuple[str, ...]
) -> Complex64[np.ndarray, "coil *pe ro"]:
    """As `every_bart_kspace`, with one regularisation."""
    return next(every_bart_kspace(measured, [regularisation]))


def every_bart_kspace(
    measured: Complex64[np.ndarray, "coil *pe ro"], regularisations: Iterable[tuple[str, ...]]
) -> Iterator[Complex64[np.ndarray, "coil *pe ro"]]:
    """The k-space of the coil images that BART's maps and image say, for each way to regularise the image.

    Acquired samples aren't put back.

    One set of maps by `bart ecalib` with its defaults from the fully sampled centre, which it finds by itself. Its crop
    leaves what lies outside the object black: without it, errors inside are larger.

    Args:
        measured: zero-filled, with a fully sampled centre; of a slice, or of a volume with partitions before its lines.
        regularisations: options of `bart pics`, as `l1` and `l2` give them.

    Raises:
        subprocess.CalledProcessError: BART refused.
    """
    scale = np.abs(measured).max()
    with TemporaryDirectory() as folder:
        kspace, maps, image = (Path(folder) / name for name in ("kspace", "maps", "image"))
        _write_cfl(kspace, measured / scale)
        _bart("ecalib", "-m1", kspace, maps)
        for regularisation in regularisations:
            _bart("pics", "-S", f"-i{N_ITERATIONS}", *regularisation, kspace, maps, image)
            coil_images = _read_cfl(maps, measured.shape) * _read_cfl(image, measured.shape[1:])
            axes = tuple(range(1, measured.ndim))
            spectra = np.fft.fftn(np.fft.ifftshift(scale * coil_images, axes=axes), axes=axes, norm="ortho")
            yield np.fft.fftshift(spectra, axes=axes).astype(np.complex64)


def _bart(*arguments: str | Path) -> None:
    subprocess.run(["bart", *arguments], check=True, capture_output=True)


def _write_cfl(path: Path, array: Complex64[np.ndarray, "coil *pe ro"]) -> None:
    n_coils, *n_partitions, n_pe, n_ro = array.shape
    dimensions = [n_ro, n_pe, *(n_partitions or [1]), n_coils, *[1] * 12]
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, dimensions))}\n")
    array.astype("<c8").tofile(path.with_suffix(".cfl"))


def _read_cfl(path: Path, shape: tuple[int, ...]) -> Complex64[np.ndarray, "*axes"]:
    return np.fromfile(path.with_suffix(".cfl"), "<c8").reshape(shape)
