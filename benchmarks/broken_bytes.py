"""Bytes as broken copies, broken converters and malice leave them."""

from collections.abc import Callable

import numpy as np

EXTREMES = (0, 1, 2, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def _at(content: bytearray, random: np.random.Generator) -> int:
    """Anywhere, or with even chances near the beginning, where headers are."""
    return int(random.integers(min(len(content), 20_000) if random.random() < 0.5 else len(content)))


def _flip(content: bytearray, random: np.random.Generator) -> bytearray:
    content[_at(content, random)] ^= 1 << int(random.integers(8))
    return content


def _overwrite(content: bytearray, random: np.random.Generator) -> bytearray:
    at, n = _at(content, random), int(2 ** random.integers(0, 16))
    fill = [bytes(n), b"\xff" * n, random.bytes(n)][int(random.integers(3))]
    content[at : at + n] = fill[: len(content) - at]
    return content


def _number(content: bytearray, random: np.random.Generator) -> bytearray:
    width = int(random.choice([2, 4, 8]))
    at = _at(content, random) // width * width
    value = int(random.choice(np.array(EXTREMES, dtype=object))) % 2 ** (8 * width)
    content[at : at + width] = value.to_bytes(width, "little" if random.random() < 0.8 else "big")
    return content


def _digit(content: bytearray, random: np.random.Generator) -> bytearray:
    """Another digit, where there is one: the numbers in a header's text."""
    at = _at(content, random)
    for place in range(at, min(at + 4096, len(content))):
        if chr(content[place]).isdigit():
            content[place] = ord("0123456789"[int(random.integers(10))])
            break
    return content


def _cut_out(content: bytearray, random: np.random.Generator) -> bytearray:
    at, n = _at(content, random), int(2 ** random.integers(0, 17))
    del content[at : at + n]
    return content


def _put_in(content: bytearray, random: np.random.Generator) -> bytearray:
    at = _at(content, random)
    content[at:at] = random.bytes(int(2 ** random.integers(0, 13)))
    return content


def _truncate(content: bytearray, random: np.random.Generator) -> bytearray:
    return content[: _at(content, random)]


def _swap(content: bytearray, random: np.random.Generator) -> bytearray:
    a, b = sorted((_at(content, random), _at(content, random)))
    n = min(4096, b - a, len(content) - b)
    content[a : a + n], content[b : b + n] = content[b : b + n], content[a : a + n]
    return content


MUTATIONS: dict[str, Callable[[bytearray, np.random.Generator], bytearray]] = {
    "flipped bits": _flip,
    "overwritten": _overwrite,
    "extreme numbers": _number,
    "other digits": _digit,
    "cut out": _cut_out,
    "put in": _put_in,
    "truncated": _truncate,
    "swapped": _swap,
}
