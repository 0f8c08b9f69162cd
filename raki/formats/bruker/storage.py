"""How ParaVision stores scans: in blocks of all receivers, one after the other in the order of time.

ParaVision 5 to 7 write `fid`: each scan has ACQ_size[0] words, real and imaginary in turn, of each receiver, and may be
filled up with zeros to a multiple of 1024 bytes. ParaVision 360 writes `rawdata.job0`, of ACQ_jobs[0] words and never
filled up. Bruker's own manuals are for its customers; the layout is as public documentation quotes it
(github.com/isi-nmr/brukerapi-python and its tests, MRIReco.jl).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from raki.archive import companion_of
from raki.errors import DamagedScan, UnsupportedScan
from raki.formats.bruker.jcampdx import Parameters

KILOBYTE = 1024
LARGEST_LINE = 65535
WORDS = {
    "GO_32BIT_SGN_INT": "i4",
    "GO_16BIT_SGN_INT": "i2",
    "GO_32BIT_FLOAT": "f4",
    "_32_BIT": "i4",
    "_16_BIT": "i2",
    "STORE_32bit_signed": "i4",
    "STORE_64bit_float": "f8",
}
ORDERS = {"little": "<", "big": ">"}


@dataclass(frozen=True, kw_only=True)
class Storage:
    """Where scans lie in a file, and of what they are made."""

    path: Path
    word: np.dtype
    n_receivers: int
    n_samples: int
    """Of one receiver in one scan."""
    n_block_bytes: int
    """From one scan to the next."""


def find_storage(path: Path, acqp: Parameters, method: Parameters) -> Storage:
    """The file of raw data that stands with an `acqp`, and how it is read.

    Raises:
        DamagedScan: there is none, or the parameters are impossible.
        UnsupportedScan: words or scans of a kind that raki doesn't read.
    """
    fid, job = companion_of(path, "fid"), companion_of(path, "rawdata.job0")
    n_receivers = method.count("PVM_EncNReceivers", acqp.words("ACQ_ReceiverSelect").count("Yes") or 1, most=1024)
    if fid.is_file():
        n_words = int(_first(acqp, "ACQ_size"))
        kind = acqp.word("GO_raw_data_format") or acqp.word("ACQ_word_size")
        fills_up = acqp.word("GO_block_size") == "Standard_KBlock_Format"
        raw = fid
    elif job.is_file():
        fields = acqp.structure("ACQ_jobs")
        n_words = int(fields[0]) if fields and re.fullmatch(r"[0-9]{1,8}", fields[0]) else 0
        settings = [field for field in acqp.structure("ACQ_ScanPipeJobSettings") if field.startswith("STORE_")]
        stored = [field for field in settings if field in WORDS]
        kind = next(iter(stored), acqp.word("GO_raw_data_format") or acqp.word("ACQ_word_size"))
        fills_up, raw = False, job
    else:
        raise DamagedScan(
            "beside acqp there is neither fid nor rawdata.job0, which hold the samples; raki needs acqp, method and "
            "one of them together: pack the folder of the experiment as one zip or tar"
        )
    if acqp.word("AQ_mod") == "qf":
        raise UnsupportedScan("the scan was recorded without quadrature (AQ_mod qf); raki needs complex samples")
    order = acqp.word("BYTORDA")
    if kind not in WORDS or order not in ORDERS:
        raise UnsupportedScan(
            f"samples are stored as '{kind[:40]}', byte order '{order[:20]}'; raki reads {', '.join(WORDS)}, little or "
            "big"
        )
    if n_words < 2 or n_words % 2 or n_words > 2 * LARGEST_LINE:
        raise DamagedScan(
            f"a scan has {n_words} words by acqp; raki needs two for each of 1 to {LARGEST_LINE} samples: copy acqp "
            "again"
        )
    word = np.dtype(ORDERS[order] + WORDS[kind])
    n_bytes = n_words * n_receivers * word.itemsize
    return Storage(
        path=raw,
        word=word,
        n_receivers=n_receivers,
        n_samples=n_words // 2,
        n_block_bytes=-(-n_bytes // KILOBYTE) * KILOBYTE if fills_up else n_bytes,
    )


def _first(parameters: Parameters, name: str) -> float:
    numbers = parameters.numbers(name)
    return float(numbers[0]) if len(numbers) else 0.0
