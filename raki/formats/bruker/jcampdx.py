"""ParaVision's lists of parameters: JCAMP-DX 4.24 with labels of Bruker's own, `##$NAME=value`.

A value goes on to the next label, wrapped anywhere. Arrays are led by their lengths, `( 2, 3 )`, and equal values in a
row may be written as `@5*(0)`; texts stand in `<>`, and structures in parentheses. Lines of `$$` are comments.

The library for these files (brukerapi 0.4.6, MIT) isn't used: by its source it works out how data is stored by
evaluating expressions, and reads raw data whole.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from raki.errors import DamagedScan

# EPI's lists have half a megabyte.
MOST_BYTES = 32 << 20
MOST_ELEMENTS = 1 << 22
MOST_WORDS = 1 << 12
# Structures are short; their letters are looked at one by one.
LONGEST_STRUCTURES = 1 << 16

LENGTHS = re.compile(r"\(\s*(\d{1,9}(?:\s*,\s*\d{1,9}){0,7})\s*\)[ \t]*\r?\n")
PIECE = re.compile(r"@(\d{1,9})\*\(([^()@<>]*)\)|([^@()]+)|(.)", re.DOTALL)
NUMBER = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?")


class Parameters:
    """The parameters of one list, by their names without the dollar sign.

    Raises:
        DamagedScan: the list is cut short, or names a parameter twice with different values.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise DamagedScan(f"the list of parameters {name} has more than {MOST_BYTES} bytes, as none has; copy it")
        self._values: dict[str, str] = {}
        text = re.sub(r"(?m)^\$\$.*\n?", "", content.decode("utf-8", "replace"))
        first, *records = re.split(r"(?m)^##", text)
        if not first.strip() and not any(record.startswith("END=") for record in records):
            raise DamagedScan(f"the list of parameters {name} has no end (##END=); raki needs all of it: copy it again")
        for record in records:
            label, _, value = record.partition("=")
            if not label.startswith("$"):
                continue
            if self._values.setdefault(label[1:].strip(), value) != value:
                raise self._broken(label[1:].strip(), "stands there twice, with different values")

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def numbers(self, name: str) -> Float64[np.ndarray, " element"]:
        """All elements of an array, the last of its lengths running fastest, or a single number.

        Raises:
            DamagedScan: there is no such parameter, or something else than as many numbers as it announces.
        """
        lengths, rest = self._array(name)
        words: list[str] = []
        n_announced = int(np.prod(lengths, dtype=object)) if lengths else 1
        if not 0 <= n_announced <= MOST_ELEMENTS:
            raise self._broken(name, f"announces {n_announced} numbers, more than {MOST_ELEMENTS}")
        for times, repeated, plain, strange in PIECE.findall(rest):
            if strange:
                raise self._broken(name, "isn't a list of numbers")
            again = repeated.split()
            if len(words) + int(times or 0) * len(again) > n_announced:
                raise self._broken(name, f"announces {n_announced} numbers and holds more")
            words += again * int(times or 0) + plain.split()
        if len(words) != n_announced:
            raise self._broken(name, f"announces {n_announced} numbers and holds {len(words)}")
        if not all(map(NUMBER.fullmatch, words)):
            raise self._broken(name, "isn't a list of numbers")
        return np.array(words, np.float64)

    def number(self, name: str, otherwise: int | float | None = None) -> float:
        """A single number."""
        if otherwise is not None and name not in self:
            return float(otherwise)
        numbers = self.numbers(name)
        if len(numbers) != 1:
            raise self._broken(name, f"holds {len(numbers)} numbers where one is needed")
        return float(numbers[0])

    def count(self, name: str, otherwise: int | None = None, *, least: int = 1, most: int = 1 << 24) -> int:
        """A whole number between bounds."""
        number = self.number(name, otherwise)
        if not least <= number <= most or number != int(number):
            raise self._broken(name, f"is {number:g}; raki needs a whole number from {least} to {most}")
        return int(number)

    def words(self, name: str) -> list[str]:
        """What stands in a list of words, or in one text, without the angle brackets; empty where there is none."""
        if name not in self:
            return []
        _, rest = self._array(name)
        text = rest.replace("\r", "").strip()
        if text.startswith("<"):
            return [inner.replace("\n", "") for inner in re.findall(r"<([^<>]*)>", text)]
        found: list[str] = []
        for times, repeated, plain, _ in PIECE.findall(text):
            n_more = min(int(times or 1), MOST_WORDS)
            found += (repeated or plain).split() * n_more
        return found[:MOST_WORDS]

    def word(self, name: str, otherwise: str = "") -> str:
        """The first of its words."""
        return next(iter(self.words(name)), otherwise)

    def structure(self, name: str) -> list[str]:
        """The fields of the first structure of a parameter; empty where there is none."""
        if name not in self:
            return []
        text = self._array(name)[1].strip()[:LONGEST_STRUCTURES]
        depth, is_text, fields = 0, False, [""]
        for letter in text:
            if is_text:
                is_text = letter != ">"
            elif letter == "<":
                is_text = True
            elif letter in "()":
                depth += 1 if letter == "(" else -1
                if depth == 0:
                    break
                if depth == 1 and letter == "(":
                    continue
            elif letter == "," and depth == 1:
                fields.append("")
                continue
            fields[-1] += letter
        return [field.strip().strip("<>") for field in fields]

    def _array(self, name: str) -> tuple[list[int], str]:
        """The lengths of an array, none of a single value, and the rest."""
        value = self._values.get(name)
        if value is None:
            raise DamagedScan(
                f"the list of parameters {self._name} lacks {name}; raki needs it: pack the folder of the experiment "
                "as ParaVision left it"
            )
        lengths = LENGTHS.match(value)
        if not lengths:
            return [], value
        return [int(length) for length in lengths[1].split(",")], value[lengths.end() :]

    def _broken(self, name: str, what: str) -> DamagedScan:
        shown = "".join(letter for letter in name[:40] if letter.isalnum() or letter == "_")
        return DamagedScan(f"the parameter {shown} of {self._name} {what}: copy or export the experiment again")
