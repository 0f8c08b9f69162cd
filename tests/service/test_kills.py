"""Killed before or after any call to AWS, a scan still comes out, once and whole: every call is tried."""

import contextlib

import pytest
from moto import mock_aws

from raki.service.ledger import State
from tests.service.whole_way import WholeWay

IMAGE = b"the scan"


class Killed(BaseException):
    """No handler of an exception sees a kill; this comes as close as one process gets."""


class Killer:
    """Counts the calls of a process to AWS, and kills it at one of them; a dead process calls nobody any more."""

    def __init__(self, *, at=None, before=True):
        self.at, self.moment = at, "before-call" if before else "after-call"
        self.calls = []
        self.is_dead = False

    def hear(self, event_name):
        moment, _, call = event_name.partition(".")
        if self.is_dead:
            raise Killed
        if moment == "before-call":
            self.calls.append(call)
        if moment == self.moment and len(self.calls) - 1 == self.at:
            self.is_dead = True
            raise Killed

    def run(self, way, make, work):
        way.listener = self.hear
        with contextlib.suppress(Killed):
            work(make())
        way.listener = None


@pytest.fixture
def way(monkeypatch):
    with mock_aws():
        yield WholeWay(monkeypatch)


def go(way, killer, stage):
    if stage is State.DECOMPRESSING:
        killer.run(way, way.worker, way.decompress)
    else:
        way.decompress()
        killer.run(way, way.job, lambda job: job.drain())


def check_came_out(way, killed_at):
    """Every scan has its one end, and its whole result is there."""
    way.finish()
    ends = {record.raw_key: record for record in way.scans()}
    assert len(ends) == len(killed_at)
    for key, moment in killed_at.items():
        shown = way.shown(ends[key].results_folder)
        assert (ends[key].state, shown.get("image"), set(shown)) == (
            State.DELIVERED,
            IMAGE,
            {"image", "manifest.json"},
        ), moment
    assert way.n_messages() == 0


@pytest.mark.parametrize("stage", [State.DECOMPRESSING, State.RECONSTRUCTING])
def test_a_scan_outlives_a_kill_at_every_call(way, stage):
    whole = Killer()
    killed_at = {"site/whole.h5": None}
    way.announce(way.drop(IMAGE, "site/whole.h5"))
    go(way, whole, stage)
    assert len(whole.calls) >= 10, whole.calls
    for at, call in enumerate(whole.calls):
        for before in (True, False):
            key = f"site/{at}-{before}.h5"
            killer = Killer(at=at, before=before)
            way.announce(way.drop(IMAGE, key))
            go(way, killer, stage)
            assert killer.is_dead
            killed_at[key] = (killer.moment, call)
    check_came_out(way, killed_at)


class Jumper(Killer):
    """Sets its machine's clock wrong, at one of a process's calls to AWS."""

    def __init__(self, way, *, at=None, by_s=0.0):
        super().__init__(at=at)
        self._clock, self._by_s = way.clock, by_s

    def hear(self, event_name):
        try:
            super().hear(event_name)
        except Killed:
            self._clock.ahead_s += self._by_s
            self.at, self.is_dead = None, False

    def run(self, way, make, work):
        super().run(way, make, work)
        if self.at is None:
            self._clock.ahead_s -= self._by_s  # the next process is on another machine


@pytest.mark.parametrize("by_s", [-86400.0, 86400.0])
@pytest.mark.parametrize("stage", [State.DECOMPRESSING, State.RECONSTRUCTING])
def test_a_scan_outlives_a_jump_of_the_clock_at_every_call(way, stage, by_s):
    whole = Killer()
    way.announce(way.drop(IMAGE, "site/whole.h5"))
    go(way, whole, stage)
    jumped_at = {"site/whole.h5": None}
    for at, call in enumerate(whole.calls):
        way.announce(way.drop(IMAGE, f"site/{at}.h5"))
        go(way, Jumper(way, at=at, by_s=by_s), stage)
        jumped_at[f"site/{at}.h5"] = call
    check_came_out(way, jumped_at)


def test_a_scan_that_kills_its_worker_every_time_is_tried_four_times(way):
    reads = [number for number, call in enumerate(calls_of_one_scan(way)) if call == "s3.GetObject"]
    at = reads[len(reads) // 2]  # of the scan itself; before and after it options are looked for
    way.announce(way.drop(IMAGE))
    for _ in range(4):
        way.let_leases_end()
        killer = Killer(at=at)
        killer.run(way, way.worker, way.decompress)
        assert killer.is_dead
    way.finish()
    (record,) = [scan for scan in way.scans() if scan.raw_key == "site/a.h5"]
    assert record.attempts[State.DECOMPRESSING] == 5, "the fifth taking up is the one that gives it up"
    assert (record.state, record.failure_class) == (State.FAILED, "WorkerLost")


def calls_of_one_scan(way):
    killer = Killer()
    way.announce(way.drop(IMAGE, "site/other.h5"))
    killer.run(way, way.worker, way.decompress)
    return killer.calls
