"""A file's own words reach a person on one line, short, and without anything that acts on a terminal or a log."""

import json
import pickle

import pytest

from raki.errors import DamagedScan, RakiError
from raki.inspection.survey.header import text
from raki.wording import LONGEST_SENTENCE, plain

HOSTILE = "\x1b]0;pwn\x07\x1b[31m\u202egnp\u2066\n\r\t\x9b2J\x00\udcff\u2028\ufeff\U000e0041"


@pytest.mark.parametrize("words", [HOSTILE, HOSTILE * 100_000, "x" * 15_000_000])
@pytest.mark.parametrize("use", [plain, lambda words: DamagedScan(f"the header gives {words}").sentence, text])
def test_words_of_a_file_are_one_short_plain_line(words, use):
    shown = use(words)
    assert shown.isprintable()
    assert len(shown) <= LONGEST_SENTENCE
    shown.encode()


def test_what_to_do_is_still_said_after_words_that_were_cut():
    error = DamagedScan(
        f"the header gives {'9' * 4_000_000} as its centre line; raki needs 0 to 65535: convert it again"
    )
    assert error.sentence.startswith("The header gives 999")
    assert error.sentence.endswith("raki needs 0 to 65535: convert it again.")
    assert len(error.sentence) <= LONGEST_SENTENCE
    assert len(json.dumps(error.sentence)) < 4000


def test_our_own_sentences_stay_as_they_are():
    sentence = (
        "the scan is 3-D, kspace_encode_step_2 counts 4 partitions (µs, ·, “x”); raki reconstructs 2-D scans only"
    )
    assert str(DamagedScan(sentence)) == sentence
    assert str(pickle.loads(pickle.dumps(DamagedScan(sentence)))) == sentence
    assert RakiError().sentence == "."
