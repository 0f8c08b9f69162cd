"""The protocol of a Siemens measurement, from its text buffers.

What the operator set stands in the buffer MeasYaps as lines "name = value" (between two marks named ASCCONV). What the
scanner worked out from it stands in Meas and Dicom in the notation XProtocol, `<ParamLong."name"> { 3 }`. Both are
scanned once from front to back, with no look back that a hostile text could make slow.
"""

import math
import re
from collections.abc import Iterator, Mapping
from itertools import count

BEGIN, END = "### ASCCONV BEGIN", "### ASCCONV END"
PARAMETER = re.compile(r'<Param(?:Bool|Long|Double|String)\."(\w{1,80})">\s*\{([^{}]*)\}')
# Within the braces: `<Precision> 6`, `<Visible> "true"`.
ATTRIBUTE = re.compile(r'<\w{1,40}>\s*(?:"[^"]*"|\S+)')
LONGEST_NUMBER, LONGEST_WORD = 40, 256
MOST_NUMBERS = 128
LARGEST_COUNT = 1 << 31


class Protocol:
    """The values of one measurement. What is missing, empty or no number is None, as scanners leave out zeros."""

    def __init__(self, buffers: Mapping[str, str]) -> None:
        self._set = dict(_assignments(buffers.get("MeasYaps", "") or buffers.get("Phoenix", "")))
        self._derived: dict[str, str] = {}
        for buffer in ("Dicom", "Meas"):
            for match in PARAMETER.finditer(buffers.get(buffer, "")):
                value = ATTRIBUTE.sub("", match[2]).strip()
                if value:
                    self._derived.setdefault(match[1], value)

    def number(self, name: str) -> float | None:
        """A number that was set, as "sKSpace.lBaseResolution"."""
        return _number(self._set.get(name, ""))

    def numbers(self, name: str) -> list[float]:
        """A list that was set, "alTE[0]", "alTE[1]" and on, up to the first that is missing."""
        found: list[float] = []
        for n in range(MOST_NUMBERS):
            number = self.number(f"{name}[{n}]")
            if number is None:
                break
            found.append(number)
        return found

    def count(self, name: str, otherwise: int = 0) -> int:
        """A whole number that was set, from 1 to 2^31 - 1; `otherwise` where there is none."""
        number = self.number(name)
        return int(number) if number is not None and 1 <= number < LARGEST_COUNT else otherwise

    def word(self, name: str) -> str | None:
        """A text that was set, without its quotes and control characters."""
        return _word(self._set.get(name, ""))

    def coil_names(self) -> dict[int, str]:
        """The names of the coils that were selected, by the channels of the receiver that they were connected to."""
        names: dict[int, str] = {}
        for start in ("sCoilSelectMeas.aRxCoilSelectData[0].asList", "asCoilSelectMeas[0].asList"):
            for n in count():
                element = self.word(f"{start}[{n}].sCoilElementID.tElement")
                if element is None:
                    break
                channel = self.number(f"{start}[{n}].lADCChannelConnected")
                coil = self.word(f"{start}[{n}].sCoilElementID.tCoilID") or ""
                names[n if channel is None else int(channel)] = f"{coil}:{element}"
        return names

    def derived(self, name: str) -> float | None:
        """A number that the scanner worked out, the first of a list."""
        return _number(next(iter(self._derived.get(name, "").split()), ""))

    def derived_numbers(self, name: str) -> list[float]:
        """A list that the scanner worked out, up to the first that is no number."""
        found: list[float] = []
        for word in self._derived.get(name, "").split()[:MOST_NUMBERS]:
            number = _number(word)
            if number is None:
                break
            found.append(number)
        return found

    def derived_count(self, name: str) -> int:
        """A whole number that the scanner worked out, from 0 to 2^31 - 1; 0 where there is none."""
        number = self.derived(name)
        return round(number) if number is not None and 0 <= number < LARGEST_COUNT else 0

    def derived_word(self, name: str) -> str | None:
        """A text that the scanner filled in."""
        return _word(self._derived.get(name, ""))


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    start = max(text.find(BEGIN), 0)
    end = text.find(END, start)
    for line in text[start : end if end >= 0 else len(text)].splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            yield name.strip(), value.strip()


def _number(text: str) -> float | None:
    text = text.partition("#")[0].strip().strip('"')
    if not text or len(text) > LONGEST_NUMBER:
        return None
    try:
        number = float(int(text, 16)) if text.lower().startswith("0x") else float(text)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _word(text: str) -> str | None:
    text = "".join(letter for letter in text[:LONGEST_WORD] if letter.isprintable()).strip().strip('"').strip()
    return text or None
