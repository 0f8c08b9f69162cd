"""The text in the header of Siemens raw data, without identity.

The header repeats a patient's name in up to six buffers. They hold two notations: XProtocol, nested parameters such as
`<ParamString."tPatientName"> { "..." }`, and ASCCONV, lines such as `sKSpace.lBaseResolution = 256`. Both are made
anew of what is known to be safe: structure, numbers, yes and no, and the few texts in `KEPT_TEXTS`. Numbers are many
and mean the protocol; those in `PERSONAL_NUMBER` mean a person, a device or a time of day, and become 0.

The notations have no public specification. Names were found in files of the versions VD, VE and XA.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from raki.errors import DamagedScan
from raki.identity.header import HARDWARE_NAME, Policy

KEPT_TEXTS = frozenset(
    {
        "Manufacturer",
        "ManufacturersModelName",
        "SoftwareVersions",
        "Modality",
        "PatientPosition",
        "tPatientPosition",
        "sPatPosition",
        "tMRAcquisitionType",
        "tBaselineString",
        "tMeasuredBaselineString",
        "tSystemType",
        "tNucleus",
        "ResonantNucleus",
        "tCoilID",
        "tElement",
    }
)
VENDOR_TEXTS = frozenset({"Manufacturer", "ManufacturersModelName"})
TOKEN_TEXTS = frozenset({"PatientName", "PatientsName", "tPatientName", "PatientID", "tPatientID"})
PERSONAL_NUMBER = re.compile(
    r"patient(?!position)|birth|gender|serialn|meas_?id$|uid$|loid|datestamp|timestamp|studydate|studytime",
    re.IGNORECASE,
)
WEIGHT, GENDER = re.compile(r"(Used)?PatientWeight$"), re.compile(r"PatientSex$")

# No pattern looks back for long: what they match, they keep (possessive quantifiers).
NUMBER = r"[-+]?(?:0[xX][0-9a-fA-F]++|\d++(?:\.\d*+)?(?:[eE][-+]?\d++)?|\.\d++)"
PIECE = re.compile(
    rf"""
      (?P<section>\#\#\#[^\n]*+)
    | (?P<empty>(?:(?:\{{\s*+\}}|""(?!"))\s*+)++)
    | (?P<precision><Precision>\s*+\d{{1,2}}+(?!\S))
    | <(?P<tag>\w++)(?:\."(?P<name>[\w .;:/+-]*+)")?>
    | "(?P<quoted>(?:[^"]|"")*+)"
    | (?P<open>\{{)
    | (?P<close>\}})
    | ^[ \t]*+(?P<variable>[A-Za-z_][\w.\[\]]*+)[ \t]*+=[ \t]*+(?P<value>[^\n]*+)
    | (?P<number>{NUMBER}(?![\w.]))
    | (?P<unknown>[^\s<>{{}}"]++|\S)
    """,
    re.VERBOSE | re.MULTILINE,
)
SECTION = re.compile(r"### ASCCONV (?:BEGIN|END)[\w .=@%/]*###\s*")
ASSIGNED_NUMBER = re.compile(rf"{NUMBER}(?=\s|$)")
# Scanners nest about fifteen deep.
MOST_NESTED = 256


@dataclass
class _Scope:
    """A pair of braces: the parameter whose values stand in it. Arrays hold their elements' values without a name."""

    name: str
    is_array: bool = False
    is_personal: bool = False


NO_PARAMETER = _Scope("")


class TextScrubber:
    """Rewrites header texts, one at a time.

    `removed` holds what was taken away, by the name of its parameter; `vendor` what stays as the maker's name.
    """

    def __init__(self, token: str, policy: Policy) -> None:
        kept = [pattern for wanted, pattern in ((policy.keep_weight, WEIGHT), (policy.keep_gender, GENDER)) if wanted]
        self._token, self._kept_numbers = token, kept
        self._scopes = [NO_PARAMETER]
        self._opening: _Scope | None = None
        self._is_attribute = False
        self.removed: dict[str, dict[str, None]] = {}
        self.vendor: set[str] = set()

    def scrub(self, text: str) -> str:
        """The text without identity and as long as before: blanks at its end make up for what went.

        Raises:
            DamagedScan: the text is none of a scanner's.
        """
        body = text.rstrip("\0")
        scrubbed = self._rewritten(body, self._token)
        if len(scrubbed) > len(body):  # few and short texts gave way: there is no room for the token
            scrubbed = self._rewritten(body, "")
        if len(scrubbed) > len(body):
            raise DamagedScan("the text in the header is no protocol of a scanner; raki needs it whole: copy it again")
        return scrubbed.ljust(len(body)) + "\0" * (len(text) - len(body))

    def _rewritten(self, text: str, token: str) -> str:
        self._scopes, self._opening, self._is_attribute = [NO_PARAMETER], None, False
        return PIECE.sub(lambda piece: self._piece(piece, token), text)

    def _piece(self, piece: re.Match[str], token: str) -> str:
        found, is_attribute = piece.lastgroup, self._is_attribute
        self._is_attribute = found == "tag"
        if found == "open":
            self._scopes.append(self._opened(is_attribute=is_attribute))
        elif found == "empty":
            self._opening = None
        elif found == "close" and len(self._scopes) > 1:
            self._scopes.pop()
        elif found == "name":
            self._open_parameter(piece["tag"], piece["name"])
        elif found == "value":
            return f"{piece['variable']} = {self._assigned(piece['variable'], piece['value'].strip(), token)}"
        elif found == "quoted":
            return f'"{self._text("" if is_attribute else self._scopes[-1].name, piece["quoted"], token)}"'
        elif found == "number":
            is_personal = any(scope.is_personal for scope in self._scopes)
            return self._number(self._scopes[-1].name, piece[0], personal=is_personal)
        elif found == "unknown" or (found == "section" and not SECTION.fullmatch(piece[0])):
            return ""
        return piece[0]

    def _opened(self, *, is_attribute: bool) -> _Scope:
        """The scope of a pair of braces: that of the parameter in front of them, if there is one."""
        if len(self._scopes) > MOST_NESTED:
            raise DamagedScan(
                f"the text in the header nests more than {MOST_NESTED} parameters, which no scanner does; raki needs "
                "the file as it was written: copy it again"
            )
        if is_attribute:
            return NO_PARAMETER
        opened, self._opening = self._opening or self._scopes[-1], None
        return opened

    def _open_parameter(self, tag: str, name: str) -> None:
        if name:
            self._opening = _Scope(name, is_array=tag == "ParamArray")
        if name and _is_personal(name):
            for scope in self._scopes:
                scope.is_personal |= scope.is_array

    def _assigned(self, variable: str, value: str, token: str) -> str:
        number = ASSIGNED_NUMBER.match(value)
        if number:
            return self._number(variable, number[0], personal=False)
        return f'"{self._text(variable.rpartition(".")[2], value.strip(chr(34)), token)}"'

    def _text(self, name: str, value: str, token: str) -> str:
        if not value.strip() or value in ("true", "false"):
            return value.strip()
        if name in KEPT_TEXTS and HARDWARE_NAME.fullmatch(value):
            self.vendor |= {value} if name in VENDOR_TEXTS else set()
            return value
        self._remember(name, value)
        return token if name in TOKEN_TEXTS else ""

    def _number(self, name: str, value: str, *, personal: bool) -> str:
        if not (personal or _is_personal(name)) or any(kept.search(name) for kept in self._kept_numbers):
            return value
        self._remember(name, value)
        return "0"

    def _remember(self, name: str, value: str) -> None:
        self.removed.setdefault(name, {})[value] = None


@lru_cache(maxsize=4096)
def _is_personal(name: str) -> bool:
    return PERSONAL_NUMBER.search(name) is not None
