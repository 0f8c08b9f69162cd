"""A file of prices of AWS: the package's own, or one that a site keeps."""

import tomllib
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.costs.prices import Prices, PricesError


class Price(BaseModel):
    """One price with what makes it worth believing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
    unit: str
    source: str
    read: Annotated[str, Field(pattern=r"^\d{4}-\d{2}(-\d{2})?$")]
    """When the source was read: a month, or a day."""
    check: bool = False
    """Whether it is still to be compared with AWS's own price list."""


class PriceList(BaseModel):
    """A file of prices: those of one region."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    prices: dict[str, Price]

    @property
    def numbers(self) -> Prices:
        """What the formulas take."""
        return Prices(**{name: price.value for name, price in self.prices.items()})

    @property
    def read(self) -> str:
        """When the oldest of the prices was read."""
        return min(price.read for price in self.prices.values())

    @property
    def to_check(self) -> list[str]:
        """Names of the prices that no price list was seen for."""
        return sorted(name for name, price in self.prices.items() if price.check)


def read_prices(path: Path | None = None) -> PriceList:
    """Reads a file of prices; without a path the package's own.

    Raises:
        PricesError: the file can't be read, a price is missing, unknown or no price.
    """
    name = str(path) if path else "prices.toml"
    try:
        text = (path or files("infra.costs") / "prices.toml").read_text(encoding="utf-8")
        found = PriceList.model_validate(tomllib.loads(text))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PricesError(f"{name} can't be read as TOML: {error}") from None
    except ValidationError as error:
        raise PricesError(f"{name}: {'; '.join(_sentence(problem) for problem in error.errors())}") from None
    needed = {field.name for field in fields(Prices)}
    if missing := sorted(needed - found.prices.keys()):
        raise PricesError(f"{name} lacks {', '.join(missing)}; copy the package's prices.toml and change what differs")
    if unknown := sorted(found.prices.keys() - needed):
        raise PricesError(f"{name} has {', '.join(unknown)}, which no formula asks for; is it misspelt?")
    return found


def _sentence(problem: Any) -> str:
    """One of pydantic's findings, with the place in the file."""
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place} is {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}"
