"""A result's weights made a model: named, described from its provenance, and put into a store."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from raki.errors import BadModel
from raki.models.card import card
from raki.models.document import (
    CARD,
    DOCUMENT,
    SCHEMA,
    WEIGHTS,
    Architecture,
    MadeFrom,
    ModelFile,
    Score,
    Signature,
    digest_of,
)
from raki.models.store import Kept, Store, weights_of
from raki.options import NO_MODEL
from raki.results.reproduction import read_result
from raki.results.weights import StoredScan

INTENDED_USE = (
    "To fill the missing lines of further scans with the same coils and lattice in the same place, as other contrasts, "
    "repetitions or frames of one examination, that were acquired without calibration lines or with too few."
)
LIMITS = (
    "Weights are those of one place: a patient who moved by more than a fraction of a pixel, another slice or another "
    "coil array needs its own calibration, and where the scan has sixteen calibration lines or more that is as good or "
    "better. Where a noise scan decorrelates the coils, each scan's own does. Research use only."
)
SCORES = {
    "held_out_error": "energy of the error in predicting acquired lines of its own scan outside the ACS, over theirs",
    "structure_kept": "part shown of points of one pixel put into its own scan, mean",
}
"""Of a provenance's verdict, what is a score, and what it means."""
UNITS = {True: "noise standard deviation", False: "arbitrary, as received"}


def promote(
    result: Path,
    name: str,
    *,
    store: Store | None = None,
    version: str | None = None,
    intended_use: str = INTENDED_USE,
    license: str = "other",  # noqa: A002 -- as the field is called
) -> Kept:
    """Makes a model of a result that has weights, and puts it into a store.

    Args:
        result: its folder, as `raki reconstruct --weights` or the service wrote it.
        version: by default the next one that is free.
        license: of the weights, as they are made from someone's data; an SPDX identifier or "other".

    Raises:
        DamagedResult: the folder isn't as raki wrote it.
        BadModel: there are no weights or none that fill, the name is none, or the version is taken.
    """
    if name == NO_MODEL:
        raise BadModel(f"{name!r} is the word for no model; choose another name")
    earlier = read_result(result)
    store = store or Store.default()
    weights = earlier.folder / WEIGHTS
    if not weights.is_file() or weights.is_symlink():
        raise BadModel(
            f"the result has no {WEIGHTS}; reconstruct the scan again with --weights (weights = true), by one of "
            "grappa, raki_linear and raki"
        )
    if WEIGHTS in (changed := earlier.changed_files()):
        raise BadModel(f"{', '.join(changed)} changed since the result was written: reconstruct the scan again")
    stored = weights_of(weights)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        folder.mkdir()
        shutil.copyfile(weights, folder / WEIGHTS)
        try:
            document = _document(
                earlier.facts,
                stored,
                name=name,
                version=version or store.next_version(name),
                intended_use=intended_use,
                license_=license,
            )
        except (ValidationError, LookupError, TypeError, ValueError) as error:
            raise BadModel(f"no model can be made of that ({_first(error)})") from None
        (folder / CARD).write_text(card(document), encoding="utf-8")
        files = {file: digest_of(folder / file) for file in (WEIGHTS, CARD)}
        facts = {**document.model_dump(mode="json", by_alias=True), "files": files}
        (folder / DOCUMENT).write_bytes(ModelFile.model_validate_json(json.dumps(facts)).to_bytes())
        return store.add(folder)


def _document(
    facts: Mapping[str, Any], stored: StoredScan, *, name: str, version: str, intended_use: str, license_: str
) -> ModelFile:
    """All but the files' digests."""
    signature = Signature.model_validate({"unit": UNITS[stored.made_for.prewhitened]})
    return ModelFile(
        schema=SCHEMA,
        name=name,
        version=version,
        architecture=Architecture.model_validate({"name": stored.method, "seed": stored.seed}),
        inputs=signature,
        outputs=signature,
        made_for=stored.made_for,
        made_from=(
            MadeFrom(
                raw_sha256=facts["input"]["sha256"],
                raw_n_bytes=facts["input"]["n_bytes"],
                scan_id=facts["scan_id"],
                created_utc=facts["created_utc"],
            ),
        ),
        intended_use=intended_use,
        limits=LIMITS,
        scores=tuple(_scores(facts)),
        license=license_,
        software=facts["software"],
        files={},
    )


def _scores(facts: Mapping[str, Any]) -> Iterator[Score]:
    verdict = facts.get("verdict") or {}
    for name, meaning in SCORES.items():
        if verdict.get(name) is not None:
            yield Score(name=name, value=verdict[name], benchmark=meaning)


def _first(error: Exception) -> str:
    """What is wrong, in a few words."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}"
    return f"{type(error).__name__}: {error}"
