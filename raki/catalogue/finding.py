"""Conditions by name: from `acceleration=">=4"` to SQL, with every value a parameter."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raki.catalogue.errors import QueryRefused
from raki.catalogue.schema import COLUMNS

TYPES = {**{column.name: column.type for column in COLUMNS}, "month": "VARCHAR"}
NUMBERS = ("INTEGER", "BIGINT", "DOUBLE")
BETTER_WHEN_HIGH = frozenset(
    {"structure_kept", "grappa_structure_kept", "snr_median", "n_acs_lines", "object_part", "mean", "percentile_99"}
)
"""Of these the worst are the lowest; of all other numbers, the highest."""
FIELD_STRENGTH = 0.15
"""How far a magnet's field is from what it is called: 2.89 T is 3 T, 1.494 T is 1.5 T."""
COMPARED = re.compile(r"(>=|<=|!=|=|>|<)?\s*([-+0-9.eE]+)")
BETWEEN = re.compile(r"([-+0-9.eE]+)\s*\.\.\s*([-+0-9.eE]+)")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which images are looked for; all conditions hold together."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Column -> what it has to be: a number, `>=4`, `2..4`, or of a text or list of texts the word."""
    label: str | None = None
    """That holds of the image or its scan: `motion`, or `motion=severe`."""
    worst: str | None = None
    """The column by which the worst come first."""
    best: str | None = None
    like: tuple[str, int] | None = None
    """Scan id and number of an image: the most alike come first, by the cosine of their embeddings."""
    limit: int | None = None

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> "Wanted":
        """From keywords: those that aren't fields of this class are columns."""
        fields = cls.__dataclass_fields__.keys() - {"columns"}
        own = {name: value for name, value in conditions.items() if name in fields}
        rest = {name: str(value) for name, value in conditions.items() if name not in own}
        return cls(columns=rest, **own)

    def sql(self) -> tuple[str, list[Any]]:
        """One SELECT and its parameters.

        Raises:
            QueryRefused: a column that there isn't, or a condition that is none.
        """
        conditions, parameters = ["true"], []
        for name, what in self.columns.items():
            condition, values = _condition(name, what)
            conditions.append(condition)
            parameters += values
        if self.label is not None:
            name, _, value = self.label.partition("=")
            conditions.append(
                "EXISTS (FROM labels_now AS said WHERE said.scan_id = slices.scan_id AND said.label = ? AND "
                "(said.image IS NULL OR said.image = slices.image) AND (? = '' OR said.value = ?))"
            )
            parameters += [name, value, value]
        chosen, order = "*", "created_utc, result_id, image"
        if self.like is not None:
            scan_id, image = self.like
            chosen = "*, 1 - array_inner_product(embedding, (SELECT first(embedding) FROM slices WHERE scan_id = ? AND "
            chosen += "image = ?)) AS distance"
            parameters = [scan_id, image, *parameters]
            order = f"distance, {order}"
        for column, is_worst in ((self.worst, True), (self.best, False)):
            if column is not None:
                down = (_require_number(column) in BETTER_WHEN_HIGH) != is_worst
                order = f'"{column}" {"DESC" if down else "ASC"} NULLS LAST, {order}'
        limit = "" if self.limit is None else f" LIMIT {int(self.limit)}"
        return f"SELECT {chosen} FROM slices WHERE {' AND '.join(conditions)} ORDER BY {order}{limit}", parameters


def _condition(name: str, what: str) -> tuple[str, list[Any]]:
    kind = TYPES.get(name)
    if kind is None:
        raise QueryRefused(f"there is no column '{name}'; there are {', '.join(TYPES)}")
    if kind in NUMBERS:
        return _of_number(name, what)
    if kind == "VARCHAR[]":
        return f'list_contains("{name}", ?)', [what]
    if kind == "VARCHAR":
        return f'lower("{name}") = lower(?)', [what]
    if kind == "BOOLEAN" and what.lower() in ("true", "false"):
        return f'"{name}" = ?', [what.lower() == "true"]
    raise QueryRefused(f"'{what}' is no condition on {name}, a column of type {kind}; ask by raki catalogue query")


def _of_number(name: str, what: str) -> tuple[str, list[Any]]:
    try:
        if between := BETWEEN.fullmatch(what.strip()):
            return f'"{name}" BETWEEN ? AND ?', [float(between[1]), float(between[2])]
        if compared := COMPARED.fullmatch(what.strip()):
            value = float(compared[2])
            if name == "field_strength_t" and compared[1] is None:
                return f'abs("{name}" - ?) <= ?', [value, FIELD_STRENGTH]
            return f'"{name}" {compared[1] or "="} ?', [value]
    except ValueError:  # as 1e or --
        pass
    raise QueryRefused(f"'{what}' is no condition on the number {name}; say 4, '>=4' or 2..4")


def _require_number(name: str) -> str:
    if TYPES.get(name) not in NUMBERS:
        numbers = ", ".join(column for column, kind in TYPES.items() if kind in NUMBERS)
        raise QueryRefused(
            f"'{name}' is no column of numbers, by which images could be put in order; there are {numbers}"
        )
    return name
