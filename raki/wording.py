"""Where words that a file holds become words of ours: in sentences, on terminals, in pages, logs and images alike.

A file's words may move a terminal's cursor, turn the direction of what follows, end a line of a log, or be as long as
the file.
"""

import unicodedata

LONGEST_SENTENCE = 500
CUT = " […] "
# Control, direction and other characters without a shape, halves of characters, and those that mean nothing anywhere.
WITHOUT_SHAPE = ("Cc", "Cf", "Cs", "Co", "Cn")


def plain(text: str, most: int = LONGEST_SENTENCE) -> str:
    """The text on one line, without characters that have no shape, and cut to `most` characters.

    What is cut out stands in the middle: a sentence of ours says at its end what to do.
    """
    if len(text) > most:
        n_end = (most - len(CUT)) // 3
        text = text[: most - len(CUT) - n_end] + CUT + text[len(text) - n_end :]
    return " ".join(
        "".join(" " if unicodedata.category(letter) in WITHOUT_SHAPE else letter for letter in text).split()
    )
