"""The three steps: make a model, set its weights, run it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from raki.errors import BadModel, ModelMismatch
from raki.images import Reconstruction, StoredModel, reconstruct
from raki.kspace import FillReport, complete
from raki.models.document import DOCUMENT, ModelFile, digest_of
from raki.models.matching import Check, check_scan, chosen_weights
from raki.models.store import Store, read_model, weights_of
from raki.results.weights import RUNGS, StoredScan
from raki.scan import Scan

THIS_SCAN = "this scan"
"""Weights that are none yet: each scan is calibrated on itself."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Of a model; the same on the command line and in a deployment."""

    seed: int = 0
    """The same seed gives the same bits on the same device."""
    mismatch: str = "refuse"
    """What becomes of a scan that the weights aren't for: "refuse", or "own", its own calibration."""
    judged: bool = True
    """Whether what can be calibrated is, and the better weights taken; else weights that hold are enough."""
    device: str | None = None
    """As torch names it; by default a GPU if there is one."""


@dataclass
class Model:
    """A method with its settings and, once they are set, the weights of an earlier scan."""

    method: str
    settings: Settings
    document: ModelFile | None = None
    """What its model says of itself; None of weights that are no model."""
    stored: StoredScan | None = None
    """None: each scan is calibrated on itself."""
    digest: str = ""
    label: str = THIS_SCAN
    report: FillReport | None = field(default=None, repr=False)
    """On the last k-space that was run, with what became of the weights."""

    def set_weights(self, weights: str | Path, *, store: Store | None = None) -> "Model":
        """Takes the weights of a model by its name ("brain-16ch", "brain-16ch@sha256:…"), of a folder or a file
        `weights.safetensors`, or none ("this scan").

        Returns:
            The model itself.

        Raises:
            NoSuchModel: the store has none of that name.
            BadModel: its weights can't be used, or are those of another method.
        """
        if weights == THIS_SCAN:
            self.document, self.stored, self.digest, self.label = None, None, "", THIS_SCAN
            return self
        document, stored, digest, label = _read(weights, store)
        if stored.method != self.method:
            raise BadModel(
                f"the weights are of the method {stored.method} and the model is {self.method}: "
                f"raki.models.make({stored.method!r})"
            )
        self.document, self.stored, self.digest, self.label = document, stored, digest, label
        return self

    def check(self, scan: Scan) -> Check:
        """Whether a prepared scan is one that the weights are for; each difference is a sentence.

        Raises:
            ValueError: no weights are set.
            UnsupportedScan: its lines are on no regular lattice.
        """
        if self.stored is None:
            raise ValueError("the model has no weights of an earlier scan to check: set_weights comes first")
        return check_scan(self.stored, scan, device=self.settings.device)

    def run(self, kspace: ArrayLike | Tensor) -> np.ndarray | Tensor:
        """The k-space with its missing lines filled; `report` says how.

        Nothing of an array tells where its slices lie, nor of which coils they are: images go by their numbers, and
        only the samples tell whether weights hold. `reconstruct` knows more.

        Args:
            kspace: as for `raki.complete_kspace`.

        Returns:
            complex64, of the same shape: an array for an array, a tensor (on the CPU) for a tensor.

        Raises:
            ModelMismatch: another number of coils or slices than that of the weights.
            NoCalibration: the weights don't hold here, and there are too few lines to calibrate on.
        """
        is_tensor = isinstance(kspace, Tensor)
        tensor = torch.as_tensor(kspace if is_tensor else np.array(kspace)).to(torch.complex64).cpu()
        if tensor.ndim not in (3, 4) or 0 in tensor.shape:
            raise ValueError(
                f"kspace has shape {tuple(tensor.shape)}; needed are axes (slice,) coil, pe, ro, none empty"
            )
        stored = self.stored
        if stored is not None:
            _require_array(stored, tensor)
        filled, self.report = complete(
            tensor,
            self.method,
            seed=self.settings.seed,
            device=self.settings.device,
            with_weights=True,
            stored=None if stored is None else lambda index: stored.images[index],
            is_judged=self.settings.judged,
        )
        return filled if is_tensor else filled.numpy()

    def bring_to(self, scan: Scan) -> StoredModel | None:
        """What `raki.reconstruct` takes as its model; None without weights.

        Raises:
            ModelMismatch: the scan is none that the weights are for, and `mismatch` is "refuse".
        """
        if self.stored is None:
            return None
        check = self.check(scan)
        if not check.fits and self.settings.mismatch == "refuse":
            decisive = " ".join(each.sentence for each in check.mismatches if each.is_decisive)
            raise ModelMismatch(
                f"the model {self.title} isn't for this scan. {decisive} Choose another model or none, or have such "
                'scans calibrated on themselves (mismatch = "own")'
            )
        return StoredModel(
            name=self.label,
            version=self.document.version if self.document else None,
            digest=self.digest,
            weights=partial(chosen_weights, self.stored, check.which),
            is_judged=self.settings.judged,
            remarks=check.sentences,
        )

    def reconstruct(self, scan: Scan, **options: Any) -> Reconstruction:
        """`raki.reconstruct` of a prepared scan by this model; `options` are those of it."""
        return reconstruct(
            scan,
            method=self.method,
            seed=self.settings.seed,
            device=self.settings.device,
            model=self.bring_to(scan),
            **options,
        )

    @property
    def title(self) -> str:
        """How it is called in a text."""
        return f"{self.label}@{self.document.version}" if self.document else self.label


def make(method: str = "raki", settings: Mapping[str, Any] | Settings | None = None) -> Model:
    """A model of a method, without weights: each scan is calibrated on itself until they are set.

    Args:
        method: "raki", "raki_linear" or "grappa".
        settings: of `Settings`, by their names.

    Raises:
        ValueError: another method, or a setting that there isn't.

    >>> import raki
    >>> model = raki.models.make("grappa", {"device": "cpu"}).set_weights("this scan")
    >>> kspace = raki.phantom_kspace(n_slices=1, n_coils=6, matrix=48)
    >>> kspace[..., [line for line in range(48) if line % 2 and not 16 <= line < 32], :] = 0
    >>> model.run(kspace).shape
    (1, 6, 48, 48)
    """
    if method not in RUNGS:
        raise ValueError(f"method is {method!r}; models have weights of {', '.join(RUNGS)}")
    if settings is None or isinstance(settings, Settings):
        return Model(method=method, settings=settings or Settings())
    try:
        return Model(method=method, settings=replace(Settings(), **settings))
    except TypeError:
        known = ", ".join(Settings.__dataclass_fields__)
        raise ValueError(f"settings are {sorted(settings)}; there are {known}") from None


def open_model(weights: str | Path, settings: Settings, *, store: Store | None = None) -> Model:
    """A model of the method that its weights are of. Arguments and errors as of `Model.set_weights`."""
    document, stored, digest, label = _read(weights, store)
    return Model(method=stored.method, settings=settings, document=document, stored=stored, digest=digest, label=label)


def _read(weights: str | Path, store: Store | None) -> tuple[ModelFile | None, StoredScan, str, str]:
    """Description, weights, digest, and what they are called."""
    path = Path(weights)
    if isinstance(weights, Path) or path.suffix == ".safetensors" or "/" in weights:
        return _from_path(path)
    kept = (store or Store.default()).find(weights)
    return kept.document, kept.weights(), kept.digest, kept.document.name


def _from_path(path: Path) -> tuple[ModelFile | None, StoredScan, str, str]:
    """A folder of a model, or of a result; or a file of weights."""
    if path.is_dir() and (path / DOCUMENT).exists():
        kept = read_model(path)
        return kept.document, kept.weights(), kept.digest, kept.document.name
    file = path / "weights.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise BadModel(f"there is no file of weights at {path.name}; `raki reconstruct --weights` writes one")
    return None, weights_of(file), digest_of(file), "weights of a file"


def _require_array(stored: StoredScan, kspace: Tensor) -> None:
    n_coils, n_images = kspace.shape[-3], kspace.shape[0] if kspace.ndim == 4 else 1
    if stored.made_for.is_3d:
        raise ModelMismatch("the model is for a 3-D scan, and arrays are slices: reconstruct takes the scan")
    if n_coils != stored.made_for.n_coils or n_images != len(stored.images):
        raise ModelMismatch(
            f"kspace has {n_images} images of {n_coils} coils, and the model is for {len(stored.images)} of "
            f"{stored.made_for.n_coils}"
        )
