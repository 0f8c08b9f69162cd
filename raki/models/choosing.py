"""The model that the options of a reconstruction name, for commands and jobs."""

from dataclasses import dataclass, replace
from pathlib import Path

from raki.errors import WrongOptions
from raki.images import StoredModel
from raki.models.model import Settings, open_model
from raki.models.store import Store
from raki.options import NO_MODEL, Chosen
from raki.scan import Scan

BY_MODEL = "model"
"""Who sets method and coils where a model is asked for."""
AT_EASE = ("default", "deployment", "provenance", BY_MODEL)
"""Who may have said otherwise without having meant this scan."""


@dataclass(frozen=True, kw_only=True)
class Brought:
    """A scan's options and model."""

    chosen: Chosen
    """With the model's own method, all coils, and its name pinned by digest."""
    model: StoredModel | None
    """None where none was asked for."""


def chosen_model(chosen: Chosen, scan: Scan, *, store: Store | None = None, path: Path | None = None) -> Brought:
    """The model that options name, or that stands at a path, brought to a scan.

    Raises:
        NoSuchModel, BadModel: it isn't there, or can't be used.
        ModelMismatch: the scan is none that it is for, and the options say that such are refused.
        WrongOptions: a scan's own options ask for another method, or for fewer coils.
    """
    options = chosen.options
    if options.model == NO_MODEL and path is None:
        return Brought(chosen=chosen, model=None)
    settings = Settings(seed=options.seed, mismatch=options.mismatch)
    model = open_model(path or options.model, settings, store=store)
    for name, wanted in (("method", model.method), ("coils", 0)):
        said = getattr(options, name)
        if said != wanted and chosen.set_by[name] not in AT_EASE:
            raise WrongOptions(
                f"{name} is {said!r} and the model {model.title} is of {wanted!r}; leave {name} out, or the model"
            )
    pinned = f"{model.label}@{model.document.version}@sha256:{model.digest}" if model.document else NO_MODEL
    return Brought(
        chosen=Chosen(
            options=replace(options, method=model.method, coils=0, model=pinned),
            set_by={**chosen.set_by, "method": BY_MODEL, "coils": BY_MODEL},
        ),
        model=model.bring_to(scan),
    )
