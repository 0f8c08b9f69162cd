"""Whether a word of the identity is still in a header that was scrubbed."""

import re
from collections.abc import Iterable

from raki.errors import DamagedScan, PermanentError

# Shorter words stand in many a header for something else; so do numbers of few digits.
SHORTEST_WORD, FEWEST_DIGITS = 4, 6
# A header names a person, a place and a machine, in some dozens of words; far more only use up time.
MOST_WORDS = 500
ENCODINGS = ("utf-8", "latin-1", "utf-16-le", "utf-16-be")


class IdentityLeft(PermanentError):
    """A part of the identity stands where it can't be taken away, so no de-identified file was written."""

    exit_code = 19


def telling_words(words: Iterable[str]) -> set[str]:
    """Those that are long enough to mean one thing only; a decimal number may be any quantity of the protocol."""
    return {word for word in words if _is_telling(word)}


def require_gone(words: set[str], header: bytes) -> None:
    """Searches a header for the words, in the encodings that scanners write.

    Raises:
        IdentityLeft: a word stands there, and not as a part of a longer one.
        DamagedScan: there are more words than a header can mean.
    """
    if len(words) > MOST_WORDS:
        raise DamagedScan(
            f"the header names people, places and machines in {len(words)} words; no scanner needs more than "
            f"{MOST_WORDS}: export the scan again"
        )
    lowered = header.lower()  # looked through first: a pattern takes far longer
    candidates = [(word, encoding) for word in sorted(words) for encoding in ENCODINGS if _fits(word, encoding)]
    found = [candidate for candidate in candidates if candidate[0].encode(candidate[1]).lower() in lowered]
    if any(re.search(_whole(*word), header, re.IGNORECASE) for word in found):
        raise IdentityLeft(
            "the header repeats the patient's, the institution's or the device's identity where raki doesn't know it; "
            "no file was written: convert the scan to ISMRMRD and de-identify that"
        )


def _whole(word: str, encoding: str) -> bytes:
    """A pattern for the word, not as a part of a longer one; a number not as a part of a decimal one or of a UID."""
    beside = rb"[\w.]" if word.isdigit() else rb"\w"
    return b"(?<!%b)%b(?!%b)" % (beside, re.escape(word.encode(encoding)), beside)


def _is_telling(word: str) -> bool:
    if re.fullmatch(r"[-+]?\d*+(\.\d*+)?", word):
        return word.isdigit() and len(word) >= FEWEST_DIGITS
    return len(word) >= SHORTEST_WORD and not re.fullmatch(r"[xX]+", word)


def _fits(word: str, encoding: str) -> bool:
    try:
        word.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True
