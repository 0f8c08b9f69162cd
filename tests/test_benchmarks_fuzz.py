"""The fuzzer's own parts, without the fuzzer: its seeds reach the parsers, and no end of an input escapes it."""

import ctypes
import os
import signal
import time

import pytest

from benchmarks import fuzz_ends
from benchmarks.fuzz_ends import fault_apart, fault_of, minimised
from benchmarks.fuzz_targets import NAMES, target_of
from raki.errors import DamagedScan
from raki.formats import formats
from raki.sandbox.answers import form_of


@pytest.mark.parametrize("name", NAMES)
def test_every_seed_is_read_without_an_error(name, tmp_path):
    """One that was refused at the door would never show what is behind it."""
    target = target_of(name)
    for number, seed in enumerate(target.seeds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        target.read(seed, folder)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_cut_short_is_read_or_refused(name):
    target = target_of(name)
    for seed in target.seeds():
        for part in (seed[: len(seed) // 2], seed[:-1], seed[:5], b""):
            assert fault_of(target.read, part) is None


def test_every_format_has_a_parser_that_is_fuzzed():
    kinds = (
        "bart",
        "fastmri",
        "ge",
        "ismrmrd_hdf5",
        "ismrmrd_stream",
        "mrd2",
        "npy",
        "npz",
        "paravision",
        "philips",
        "twix",
    )
    assert len(formats()) == len(kinds)
    assert all(any(name.startswith(kind) for name in NAMES) for kind in kinds)


def refuse(content, folder):
    raise DamagedScan("no")


def stumble(content, folder):
    if b"!" in content:
        form_of(lambda: None)


def crash(content, folder):
    ctypes.string_at(0)


def devour(content, folder):
    bytearray(1 << 40)


def work_on(content, folder):
    ends = time.process_time() + 1.2
    while time.process_time() < ends:
        pass


def fill(content, folder):
    with (folder / "large").open("wb") as file:
        file.truncate(1 << 30)


def leave(content, folder):
    os.kill(os.getpid(), signal.SIGXCPU)


@pytest.mark.parametrize(
    ("read", "fault"),
    [
        (refuse, None),
        (stumble, "KeyError at answers:"),
        (crash, "SIGSEGV"),
        (devour, "MemoryError"),
        (work_on, "more than 1 s"),
        (fill, "more on the disk"),
        (leave, "SIGXCPU"),
    ],
)
def test_every_way_to_end_is_told_apart(read, fault, monkeypatch):
    monkeypatch.setattr(fuzz_ends, "CPU_SECONDS", 1)
    found = fault_apart(read, b"!")
    assert found is None if fault is None else (found or "").startswith(fault)


def test_what_an_input_owes_its_fault_to_is_left_of_it():
    assert minimised(stumble, b"something" * 20 + b"!" + b"else" * 30, seconds=60) == b"!"
