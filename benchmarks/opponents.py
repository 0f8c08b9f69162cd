"""Other people's code behind one call: zero-filled k-space in, filled k-space out, acquired samples put back.

Each runs with its own defaults, or its authors' settings where there are any. One that isn't installed is left out,
with the reason.
"""

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.bart import L1_DEFAULT, L1_WEIGHTS, L2_DEFAULT, L2_WEIGHTS, bart_kspace, l1, l2, why_no_bart
from benchmarks.filling import Fill, TunedFill
from benchmarks.undersampling import Undersampling
from raki.kspace import complete_kspace, methods
from raki.scan.fourier import KSpace, to_kspace

# What each needs besides itself: pygrappa imports scikit-image without asking for it, the public RAKI shows its
# progress with tqdm.
NEEDED = {"pygrappa": ("pygrappa", "skimage"), "sigpy": ("sigpy",), "public_raki": ("tqdm",), "public_iraki": ("tqdm",)}
# What `bart pics` is told; several for those that are tuned by looking at the answer.
BART = {
    "bart_l2": (l2(L2_DEFAULT),),
    "bart_l1": (l1(L1_DEFAULT),),
    "bart_l2_tuned": tuple(map(l2, L2_WEIGHTS)),
    "bart_l1_tuned": tuple(map(l1, L1_WEIGHTS)),
}
OPPONENTS = (*NEEDED, *BART)
# The learning rates of the public iterative RAKI are given for these accelerations only.
IRAKI_ACCELERATIONS = (4, 5, 6)


def fills(names: Sequence[str], public_raki: Path | None = None) -> dict[str, Fill | TunedFill]:
    """The call of each method: raki's own by their names, and the opponents.

    Args:
        names: of `raki.kspace.methods()` or OPPONENTS.
        public_raki: folder of pdawood/iterativeRaki, for the two public networks.

    Raises:
        ValueError: an unknown name, or an opponent that can't be used here.
    """
    reasons = {name: why_not(name, public_raki) for name in names}
    refused = [reason for reason in reasons.values() if reason]
    if refused:
        raise ValueError("; ".join(refused))
    return {name: _fill_of(name, public_raki) for name in names}


def why_not(name: str, public_raki: Path | None = None) -> str:
    """What keeps a method from being measured here; nothing if it can be."""
    if name in methods():
        return ""
    if name not in OPPONENTS:
        return f"there is no method {name!r}; there are {', '.join([*methods(), *OPPONENTS])}"
    if name in BART:
        return f"{name} needs {why_no_bart()}" if why_no_bart() else ""
    missing = [module for module in NEEDED[name] if find_spec(module) is None]
    if missing:
        return f"{name} needs {' and '.join(missing)}, not installed here (pip install 'raki-mri[benchmarks]')"
    if name.startswith("public") and not (public_raki and (public_raki / "cnn/rakiModels.py").is_file()):
        return f"{name} needs --public-raki FOLDER, a clone of github.com/pdawood/iterativeRaki"
    return ""


def can_fill(name: str, lines: Undersampling) -> bool:
    """Whether the method knows what to do at this acceleration."""
    return name != "public_iraki" or lines.acceleration in IRAKI_ACCELERATIONS


def _fill_of(name: str, public_raki: Path | None) -> Fill | TunedFill:
    if name in methods():
        return lambda measured, _lines: complete_kspace(measured, name)
    if name in BART:
        settings = {" ".join(options): _bart_fill(options) for options in BART[name]}
        return TunedFill(settings=settings) if len(settings) > 1 else next(iter(settings.values()))
    if public_raki is not None and name.startswith("public") and str(public_raki) not in sys.path:
        sys.path.append(str(public_raki))
    for module in NEEDED[name]:
        import_module(module)  # here, or the first run would be timed with it
    fill_slice = {
        "pygrappa": _pygrappa,
        "sigpy": _sigpy,
        "public_raki": _public_raki,
        "public_iraki": _public_iraki,
    }[name]
    return lambda measured, lines: _each_slice(fill_slice, measured, lines)


def _bart_fill(options: tuple[str, ...]) -> Fill:
    return lambda measured, lines: _each_slice(lambda one, _lines: bart_kspace(one, options), measured, lines)


def _each_slice(fill_slice: Callable[..., np.ndarray], measured: KSpace, lines: Undersampling) -> KSpace:
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        filled = [torch.from_numpy(np.ascontiguousarray(fill_slice(one.numpy(), lines))) for one in measured]
    return lines.with_acquired(torch.stack(filled).to(torch.complex64), measured)


def _pygrappa(measured: np.ndarray, lines: Undersampling) -> np.ndarray:
    """Its N-dimensional GRAPPA, regularised as by default."""
    # The kernel counts lines that weren't acquired too: so many hold one acquired line on either side of any hole.
    kernel = (2 * lines.acceleration - 1, 7)
    acs = measured[:, lines.calibration_lines].copy()
    return import_module("pygrappa").mdgrappa(measured.copy(), acs, kernel_size=kernel, coil_axis=0)


def _sigpy(measured: np.ndarray, lines: Undersampling) -> np.ndarray:
    """ESPIRiT maps from the ACS, SENSE by conjugate gradients, and the k-space of the coil images that these say."""
    mri = import_module("sigpy.mri")
    # One regularisation for all scans needs one scale: images whose mean is about 1 in the brightest coil.
    scale = np.abs(measured).max() / np.sqrt(measured[0].size)
    unit = measured / scale
    maps = mri.app.EspiritCalib(unit, calib_width=lines.n_acs_lines, crop=0, show_pbar=False).run()
    image = mri.app.SenseRecon(unit, maps, lamda=0.01, max_iter=30, show_pbar=False).run()
    return to_kspace(torch.from_numpy(scale * maps * image).to(torch.complex64)).numpy()


def _public_raki(measured: np.ndarray, lines: Undersampling) -> np.ndarray:
    """The complex-valued RAKI of Dawood et al. 2023, Magn Reson Med 89:812-827, arXiv:2201.03560: 500 epochs."""
    return _from_first_lattice_line(_run_raki, measured, lines)


def _public_iraki(measured: np.ndarray, lines: Undersampling) -> np.ndarray:
    """The iterative RAKI of the same authors: starts from GRAPPA, then trains on its own output."""
    return _from_first_lattice_line(_run_iraki, measured, lines)


def _from_first_lattice_line(run: Callable[..., np.ndarray], measured: np.ndarray, lines: Undersampling) -> np.ndarray:
    """The public code wants line 0 acquired and a smallest sample between 1 and 10; lines before stay zero."""
    first = lines.lattice_offset
    smallest = np.abs(measured[measured != 0]).min()
    scale = 10.0 ** -int(np.floor(np.log10(smallest)))
    cut = measured[:, first:] * scale
    lattice = np.zeros_like(cut)
    lattice[:, :: lines.acceleration] = cut[:, :: lines.acceleration]
    acs = slice(lines.calibration_lines.start - first, lines.calibration_lines.stop - first)
    filled = measured.copy()
    torch.manual_seed(0)  # the public code leaves the seed to chance
    filled[:, first:] = run(lattice, cut[:, acs].copy(), acs, lines.acceleration) / scale
    return filled


def _run_raki(lattice: np.ndarray, acs: np.ndarray, _where: slice, acceleration: int) -> np.ndarray:
    models = import_module("cnn.rakiModels")
    return models.rakiReco(lattice, acs, acceleration, _layers(len(acs), acceleration, first_kernel=(2, 5)))


def _run_iraki(lattice: np.ndarray, acs: np.ndarray, where: slice, acceleration: int) -> np.ndarray:
    start = import_module("grappa.grappaReco").grappa(lattice.copy(), acs, acceleration, {"phase": 2, "read": 5}, 1e-4)
    start[:, where] = acs
    layers = _layers(len(acs), acceleration, first_kernel=(4, 7))
    models: Any = import_module("cnn.rakiModels")
    # It trains on so many central lines of its own output; a scan with fewer lines made it stop with an error.
    models.IRAKI_RECO_DEFAULT_ACS_NUM = min(65, lattice.shape[1])
    return models.irakiReco(lattice, acs, acceleration, layers, start, 1, where.start, where.stop - 1)


def _layers(n_coils: int, acceleration: int, *, first_kernel: tuple[int, int]) -> dict[Any, Any]:
    """The authors' own design: 256 and 128 hidden channels."""
    return {
        "num_hid_layer": 2,
        "input_unit": n_coils,
        1: [256, first_kernel],
        2: [128, (1, 1)],
        "output_unit": [(acceleration - 1) * n_coils, (1, 5)],
    }
