"""`model.json`: what a model is, what it is for, and what it was made from. `schema.json` beside this is its schema."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raki.errors import BadModel
from raki.results.made_for import Finite, MadeFor

SCHEMA: Literal["raki.model/1"] = "raki.model/1"
DOCUMENT, WEIGHTS, CARD = "model.json", "weights.safetensors", "README.md"
LARGEST_BYTES = 16 << 20
"""Of a description: the places of many thousand images, and room."""
CODE = ("auto_map", "custom_code", "trust_remote_code", "entry_point", "requirements", "pickle")
"""Keys by which other stores' models bring code; a model that has one is told so."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=2000)]
_CLOSED = ConfigDict(extra="forbid", frozen=True)


class Architecture(BaseModel):
    """What the weights are those of, with its settings."""

    model_config = _CLOSED

    name: Literal["grappa", "raki_linear", "raki"]
    """The method that fills with them."""
    seed: Annotated[int, Field(ge=0, le=(1 << 32) - 1)] = 0
    weights: Literal["raki.weights/2"] = "raki.weights/2"
    """The layout of the file of weights, which has the kernel of each image."""


class Signature(BaseModel):
    """What goes in, and what comes out."""

    model_config = _CLOSED

    kspace: Literal["complex64, axes image coil pe ro, centre at n // 2, zero where nothing was acquired"] = (
        "complex64, axes image coil pe ro, centre at n // 2, zero where nothing was acquired"
    )
    unit: Literal["noise standard deviation", "arbitrary, as received"]
    """Weights themselves are dimensionless."""


class MadeFrom(BaseModel):
    """The scan whose weights these are, without anything that names a patient."""

    model_config = _CLOSED

    raw_sha256: Digest
    raw_n_bytes: Annotated[int, Field(ge=0)]
    scan_id: Annotated[str, Field(max_length=128)] | None
    created_utc: Annotated[str, Field(max_length=40)]


class Score(BaseModel):
    """One figure, and what was measured."""

    model_config = _CLOSED

    name: Annotated[str, Field(max_length=80)]
    value: Finite
    benchmark: Text


class ModelFile(BaseModel):
    """The content of `model.json`. Keys that aren't here are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_: Literal["raki.model/1"] = Field(SCHEMA, alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$")]
    version: Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){0,2}$")]
    architecture: Architecture
    inputs: Signature
    outputs: Signature
    made_for: MadeFor
    made_from: tuple[MadeFrom, ...]
    intended_use: Text
    limits: Text
    scores: tuple[Score, ...]
    license: Annotated[str, Field(max_length=80)]
    software: dict[Annotated[str, Field(max_length=40)], Annotated[str, Field(max_length=80)]]
    files: dict[Literal["weights.safetensors", "README.md"], Digest]
    """SHA-256 of each: the digest of this file is therefore that of the model."""

    def to_bytes(self) -> bytes:
        """As it stands in the store; the same facts are the same bytes."""
        return (json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n").encode()


def parse_document(content: bytes) -> ModelFile:
    """The description of a model.

    Raises:
        BadModel: it is too large, no JSON, doesn't fit the schema, or asks for code.
    """
    if len(content) > LARGEST_BYTES:
        raise BadModel(f"{DOCUMENT} has {len(content)} bytes; {LARGEST_BYTES} are the most")
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError):
        raise BadModel(f"{DOCUMENT} is no JSON; raki needs it as `raki models promote` wrote it") from None
    if not isinstance(facts, dict):
        raise BadModel(f"{DOCUMENT} holds no facts; raki needs it as `raki models promote` wrote it")
    if asked := [key for key in CODE if key in facts]:
        raise BadModel(f"{DOCUMENT} asks for code to be run ({', '.join(asked)}); raki runs none: models are numbers")
    try:
        return ModelFile.model_validate_json(content, strict=False)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in first["loc"]) or "it"
        raise BadModel(f"{DOCUMENT} doesn't fit its schema {SCHEMA}: {place}: {first['msg']}") from None


def digest_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def json_schema() -> dict[str, Any]:
    """The JSON schema of `model.json`, as it is made from the classes."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ModelFile.model_json_schema(by_alias=True, mode="validation"),
    }


def stored_schema() -> dict[str, Any]:
    """The same, as it stands in the package."""
    found: dict[str, Any] = json.loads((files("raki.models") / "schema.json").read_text(encoding="utf-8"))
    return found
