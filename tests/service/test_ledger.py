"""The ledger's promise: however often and in whatever order stages call it, a scan only moves on and ends once."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count, product
from typing import ClassVar

import boto3
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from moto import mock_aws

from raki.errors import NotAScan, Superseded, TransientError
from raki.names import for_blind_eyes
from raki.service import ledger as ledger_module
from raki.service.ledger import BEFORE, ORDER, Claim, Ledger, State
from raki.service.messages import ScanArrived
from tests.service.conftest import arrive, create_ledger_table

DROPPED = datetime.now(UTC) - timedelta(minutes=1)
SCAN = ScanArrived(bucket="raw", key="site/a.h5", etag="e1", version_id=None, n_bytes=5, at=DROPPED)
STAGES = (State.DECOMPRESSING, State.RECONSTRUCTING)
AFTER = {State.DECOMPRESSING: State.PREPARED, State.RECONSTRUCTING: State.RECONSTRUCTED}
NUMBERS = count()
ENDS = (State.DELIVERED, State.FAILED)


def test_a_scan_goes_through_all_states(cloud):
    ledger = cloud.ledger
    assert arrive(ledger, "s", SCAN).state is State.ARRIVED
    for stage, end in ((State.DECOMPRESSING, State.PREPARED), (State.RECONSTRUCTING, State.RECONSTRUCTED)):
        assert ledger.claim("s", stage, owner="w", lease_s=30) is Claim.GRANTED
        assert ledger.finish("s", end, owner="w")
    assert ledger.deliver("s")
    record = ledger.get("s")
    assert record.state is State.DELIVERED
    assert set(record.entered_at) == set(State) - {State.FAILED}


def test_one_of_two_workers_gets_the_scan(cloud):
    arrive(cloud.ledger, "s", SCAN)
    claims = [cloud.ledger.claim("s", State.DECOMPRESSING, owner=who, lease_s=30) for who in "ab"]
    assert claims == [Claim.GRANTED, Claim.BUSY]


def test_an_expired_lease_is_taken_over_and_the_first_owner_can_no_longer_end_the_stage(cloud):
    arrive(cloud.ledger, "s", SCAN)
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=-5)
    assert cloud.ledger.claim("s", State.DECOMPRESSING, owner="b", lease_s=30) is Claim.GRANTED
    assert not cloud.ledger.renew("s", owner="a", lease_s=30)
    assert not cloud.ledger.finish("s", State.PREPARED, owner="a")
    assert cloud.ledger.finish("s", State.PREPARED, owner="b")


def test_a_released_scan_need_not_wait_for_its_lease(cloud):
    arrive(cloud.ledger, "s", SCAN)
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=300)
    cloud.ledger.release("s", State.DECOMPRESSING, owner="a", counts=True)
    assert cloud.ledger.claim("s", State.DECOMPRESSING, owner="b", lease_s=30) is Claim.GRANTED


def test_a_request_that_overtakes_the_note_is_early_and_one_after_the_end_is_late(cloud):
    arrive(cloud.ledger, "s", SCAN)
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
    assert cloud.ledger.claim("s", State.RECONSTRUCTING, owner="b", lease_s=30) is Claim.BUSY
    cloud.ledger.fail("s", NotAScan("no"))
    assert cloud.ledger.claim("s", State.RECONSTRUCTING, owner="b", lease_s=30) is Claim.OVER


def test_a_failed_scan_keeps_its_sentence_and_is_tried_anew_when_dropped_again(cloud):
    arrive(cloud.ledger, "s", SCAN)
    cloud.ledger.fail("s", NotAScan("It is a letter."))
    assert arrive(cloud.ledger, "s", SCAN).state is State.FAILED  # the same notification, delivered twice
    record = cloud.ledger.get("s")
    assert (record.failure_class, record.failure) == ("NotAScan", "It is a letter.")
    later = replace(SCAN, at=datetime.now(UTC) + timedelta(minutes=1))
    assert arrive(cloud.ledger, "s", later).state is State.ARRIVED


def test_going_back_to_an_earlier_version_makes_its_image_anew(cloud):
    ledger = cloud.ledger
    arrive(ledger, "s", SCAN)
    ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
    ledger.finish("s", State.RECONSTRUCTED, owner="a")
    ledger.deliver("s")
    assert arrive(ledger, "s", SCAN).state is State.DELIVERED  # a late duplicate
    arrive(ledger, "other", replace(SCAN, etag="e2", at=DROPPED + timedelta(seconds=9)))
    again = arrive(ledger, "s", replace(SCAN, at=datetime.now(UTC) + timedelta(minutes=1)))
    assert again.state is State.ARRIVED
    ledger.check_current(again)


def test_attempts_are_counted_and_being_told_to_stop_is_none(cloud):
    arrive(cloud.ledger, "s", SCAN)
    for counts, expected in ((True, 1), (False, 1), (True, 2)):
        cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
        cloud.ledger.release("s", State.DECOMPRESSING, owner="a", counts=counts)
        assert cloud.ledger.get("s").attempts[State.DECOMPRESSING] == expected


def test_two_files_never_share_a_results_folder(cloud):
    plain = arrive(cloud.ledger, "s1", SCAN)
    archive = arrive(cloud.ledger, "s2", replace(SCAN, key="site/a.tar.gz"))
    bare = arrive(cloud.ledger, "s3", replace(SCAN, key="site/a"))
    assert plain.results_folder == "site/a"
    assert archive.results_folder == "site/a.tar.gz"
    assert bare.results_folder == "site/a.2"


def test_nor_do_two_that_windows_takes_for_one(cloud):
    names = ["case.h5", "CASE.H5", "Case.mrd", "M\u00fcller.h5", "Mu\u0308ller.h5"]
    folders = [arrive(cloud.ledger, name, replace(SCAN, key=f"site/{name}")).results_folder for name in names]
    assert folders == ["site/case", "site/CASE.H5", "site/Case.mrd", "site/M\u00fcller", "site/Mu\u0308ller.h5"]
    assert len({for_blind_eyes(folder) for folder in folders}) == len(names)


@pytest.mark.parametrize("later_ms", [9000, 0, -9000])
def test_the_version_that_stands_in_the_bucket_owns_the_folder_whatever_its_event_says_of_the_time(cloud, later_ms):
    old = arrive(cloud.ledger, "old", SCAN)
    new = arrive(cloud.ledger, "new", replace(SCAN, etag="e2", at=DROPPED + timedelta(milliseconds=later_ms)))
    cloud.ledger.check_current(new)
    with pytest.raises(Superseded, match="newer version"):
        cloud.ledger.check_current(old)
    arrive(cloud.ledger, "old", SCAN)
    cloud.ledger.check_current(old)


def test_who_looked_before_a_newer_version_came_and_says_so_after_it_looks_again(cloud):
    newer = replace(SCAN, etag="e2")
    looks = [("old", SCAN), ("new", newer)]

    def look():
        found = looks.pop(0)
        if found[0] == "old":
            arrive(cloud.ledger, "new", newer)  # by another worker, while this one is between looking and saying
        return found

    record, _ = cloud.ledger.arrive(SCAN.key, look)
    assert record.scan_id == "new"
    assert cloud.ledger.get("old") is None
    cloud.ledger.check_current(record)


def test_nothing_is_superseded_by_a_version_that_is_not_in_the_ledger(cloud):
    old = arrive(cloud.ledger, "old", SCAN)
    cloud.ledger._enter = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)  # the worker is lost in between
    with pytest.raises(KeyboardInterrupt):
        arrive(cloud.ledger, "new", replace(SCAN, etag="e2"))
    with pytest.raises(TransientError, match="on its way"):
        cloud.ledger.check_current(old)


def test_a_version_that_was_superseded_and_stands_there_again_is_taken_up_anew(cloud):
    arrive(cloud.ledger, "s", SCAN)
    cloud.ledger.fail("s", Superseded("no"))
    assert arrive(cloud.ledger, "s", SCAN).state is State.ARRIVED


@pytest.mark.parametrize("end", [State.RECONSTRUCTED, State.DELIVERED, State.FAILED])
def test_a_version_whose_folder_another_had_is_made_anew_and_one_at_work_goes_on(cloud, end):
    ledger = cloud.ledger
    arrive(ledger, "s", SCAN)
    ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
    arrive(ledger, "other", replace(SCAN, etag="e2"))
    assert arrive(ledger, "s", SCAN).state is State.DECOMPRESSING
    if end is State.FAILED:
        ledger.fail("s", NotAScan("no"))
    else:
        ledger.finish("s", end, owner="a")
    assert arrive(ledger, "s", SCAN).state is end, "the folder was its own all along"
    arrive(ledger, "other", replace(SCAN, etag="e2"))
    assert arrive(ledger, "s", SCAN).state is State.ARRIVED


def test_a_result_that_is_replaced_before_it_was_shown_has_an_end_too(cloud):
    arrive(cloud.ledger, "s", SCAN)
    assert not cloud.ledger.overtake("s")
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
    cloud.ledger.finish("s", State.RECONSTRUCTED, owner="a")
    assert cloud.ledger.overtake("s")
    assert cloud.ledger.get("s").failure_class == "Superseded"


def test_delivery_waits_for_the_end_of_the_reconstruction(cloud):
    arrive(cloud.ledger, "s", SCAN)
    assert not cloud.ledger.deliver("s")
    cloud.ledger.fail("s", NotAScan("no"))
    assert cloud.ledger.deliver("s")
    assert cloud.ledger.get("s").state is State.FAILED


def test_bookkeeping_is_not_listed_among_the_scans(cloud):
    arrive(cloud.ledger, "s", SCAN)
    cloud.books.count_quiet_poll("scaler", quiet=True)
    assert [record.scan_id for record in cloud.ledger.scans()] == ["s"]


def test_quiet_polls_are_counted_in_a_row(cloud):
    count = [cloud.books.count_quiet_poll("scaler", quiet=quiet) for quiet in (True, True, False, True)]
    assert count == [1, 2, 0, 1]


@pytest.mark.parametrize("end", ENDS)
def test_nothing_moves_a_scan_that_has_ended_but_its_file_dropped_again_or_other_options(cloud, end):
    ledger = cloud.ledger
    arrive(ledger, "s", SCAN)
    ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=-5)
    if end is State.FAILED:
        ledger.fail("s", NotAScan("It is a letter."))
    else:
        ledger.finish("s", State.RECONSTRUCTED, owner="a")
        ledger.deliver("s")
    before = ledger.get("s")
    assert before.state is end
    for owner, stage in product("ab", STAGES):
        assert ledger.claim("s", stage, owner=owner, lease_s=30) is Claim.OVER
        assert not ledger.finish("s", AFTER[stage], owner=owner)
    ledger.renew("s", owner="a", lease_s=30)
    ledger.release("s", State.DECOMPRESSING, owner="a", counts=True)
    assert not ledger.fail("s", NotAScan("It is another letter."))
    assert arrive(ledger, "s", SCAN) == before
    assert ledger.deliver("s")
    after = ledger.get("s")
    assert (after.state, after.failure, after.attempts) == (end, before.failure, before.attempts)
    later = datetime.now(UTC) + timedelta(minutes=1)
    again = arrive(ledger, "s", replace(SCAN, at=later, version_id="2"))
    if end is State.DELIVERED:
        assert again == replace(after, version_id="2"), "its bytes are known; which version holds them is noted"
        assert arrive(ledger, "s", replace(SCAN, at=later, asked="")).state is end, "it was asked for nothing before"
        again = arrive(ledger, "s", replace(SCAN, at=later, asked="other options"))
    assert (again.state, again.failure, sum(again.attempts.values())) == (State.ARRIVED, None, 0)


class Clock:
    """The ledger's time, which passes when it is told to."""

    def __init__(self):
        self.now_s = int(DROPPED.timestamp())

    def time(self):
        return self.now_s

    def now(self, _zone=UTC):
        return datetime.fromtimestamp(self.now_s, UTC)

    fromisoformat = datetime.fromisoformat


HANDS = [(State.DECOMPRESSING, "worker 1"), (State.DECOMPRESSING, "worker 2"),
         (State.RECONSTRUCTING, "job 1"), (State.RECONSTRUCTING, "job 2")]  # fmt: skip
LEASE_S = 30
EVENTS = [
    *product(["claim"], HANDS, [1, LEASE_S + 1]),
    *product(["heartbeat", "finish"], HANDS),
    *product(["release"], HANDS, [True, False]),
    *4 * [("fail",), ("deliver",), ("drop",), ("ask",), ("notify",), ("go_on",), ("start_over",)],
]


class Walk(RuleBasedStateMachine):
    """One scan's way through the ledger, with everything that can come at the wrong moment, beside a model of it."""

    events: ClassVar[Counter] = Counter()
    """How many came in each state, over all walks."""

    def __init__(self, ledger, clock, n_steps):
        super().__init__()
        self.ledger, self.clock, self.n_steps = ledger, clock, n_steps
        self.scan_id = f"s{next(NUMBERS)}"  # the table outlives one walk
        self.state = None

    @initialize(fails=st.sampled_from([False, False, True]))
    def come_so_far(self, fails):
        """Walks begin everywhere on the way, else few would come to its end."""
        self.drop()
        for _ in range(self.n_steps):
            self.go_on()
        if fails:
            self.fail()

    @rule(event=st.sampled_from(EVENTS))
    def something_happens(self, event):
        call, *arguments = event
        self.events[self.state] += 1
        getattr(self, call)(*arguments)

    def go_on(self):
        """The next step of a scan that nothing comes in the way of."""
        match self.state:
            case State.ARRIVED:
                self.claim((State.DECOMPRESSING, "worker 1"))
            case State.PREPARED:
                self.claim((State.RECONSTRUCTING, "job 1"))
            case State.DECOMPRESSING | State.RECONSTRUCTING:
                self.finish((self.state, self.owner))
            case State.RECONSTRUCTED:
                self.deliver()

    def drop(self):
        """Drops the file, or drops it again: a scan that has failed is taken up anew, any other goes on."""
        self.clock.now_s += 1
        self.scan = replace(SCAN, key=f"site/{self.scan_id}", at=self.clock.now())
        if self.state in (None, State.FAILED):
            self.begin()
        arrive(self.ledger, self.scan_id, self.scan)

    def ask(self):
        """Drops the file with other options beside it: a scan that has ended is taken up anew, any other goes on."""
        self.clock.now_s += 1
        self.scan = replace(self.scan, at=self.clock.now(), asked=f"{self.clock.now_s}")
        if self.state in (State.RECONSTRUCTED, *ENDS):
            self.begin()
        arrive(self.ledger, self.scan_id, self.scan)

    def begin(self):
        self.state = State.ARRIVED
        self.owner, self.lease_until_s = None, 0
        self.attempts = dict.fromkeys(STAGES, 0)

    def notify(self):
        arrive(self.ledger, self.scan_id, self.scan)

    def claim(self, hand, after_s=1):
        stage, owner = hand
        self.clock.now_s += after_s
        is_free = self.owner == owner or self.lease_until_s < self.clock.now_s
        if self.state is BEFORE[stage] or (self.state is stage and is_free):
            expected = Claim.GRANTED
        elif ORDER.index(self.state) <= ORDER.index(stage):
            expected = Claim.BUSY
        else:
            expected = Claim.OVER
        assert self.ledger.claim(self.scan_id, stage, owner=owner, lease_s=LEASE_S) is expected
        if expected is Claim.GRANTED:
            self.state = stage
            self.owner, self.lease_until_s = owner, self.clock.now_s + LEASE_S
            self.attempts[stage] += 1

    def heartbeat(self, hand):
        _, owner = hand
        moves = owner == self.owner and self.state not in ENDS
        assert self.ledger.renew(self.scan_id, owner=owner, lease_s=LEASE_S) is moves
        if moves:
            self.lease_until_s = self.clock.now_s + LEASE_S

    def start_over(self):
        """What the reconciler does about a scan that stands still, and may do to one that only seems to."""
        if self.state in ENDS:
            return
        assert self.ledger.take_in_hand(self.ledger.get(self.scan_id), starts_over=True)
        self.state = State.ARRIVED
        self.owner, self.lease_until_s = None, 0

    def release(self, hand, counts):
        stage, owner = hand
        self.ledger.release(self.scan_id, stage, owner=owner, counts=counts)
        if owner == self.owner and stage is self.state:
            self.lease_until_s = 0
            self.attempts[stage] -= not counts

    def finish(self, hand):
        stage, owner = hand
        is_its_own = owner == self.owner and self.state not in ENDS
        assert self.ledger.finish(self.scan_id, AFTER[stage], owner=owner) is is_its_own
        if is_its_own:
            self.state = AFTER[stage]
            self.lease_until_s = 0

    def fail(self):
        has_no_result = self.state not in (State.RECONSTRUCTED, *ENDS)
        assert self.ledger.fail(self.scan_id, NotAScan("no")) is has_no_result
        if has_no_result:
            self.state = State.FAILED
            self.lease_until_s = 0

    def deliver(self):
        is_shown = self.state in (State.RECONSTRUCTED, *ENDS)
        assert self.ledger.deliver(self.scan_id) is is_shown
        if self.state is State.RECONSTRUCTED:
            self.state = State.DELIVERED

    @invariant()
    def the_ledger_says_what_the_model_says(self):
        record = self.ledger.get(self.scan_id)
        assert (record.state, record.attempts) == (self.state, self.attempts)
        assert (record.failure_class == "NotAScan") is (self.state is State.FAILED)


@pytest.fixture
def ledger_alone():
    """A ledger in this process: a walk has hundreds of calls, and half of a call's time is its way to a server."""
    with mock_aws():
        dynamodb = boto3.client("dynamodb")
        create_ledger_table(dynamodb, "ledger")
        yield Ledger(dynamodb, "ledger")


def test_whatever_happens_in_whatever_order_a_scan_only_moves_on_and_an_ended_one_stays_ended(
    ledger_alone, monkeypatch
):
    clock = Clock()
    for name in ("time", "datetime"):
        monkeypatch.setattr(ledger_module, name, clock)
    Walk.events.clear()
    walks = settings(max_examples=9, stateful_step_count=5, phases=[Phase.generate])
    for n_steps in range(6):
        run_state_machine_as_test(partial(Walk, ledger_alone, clock, n_steps), settings=walks)
    assert min(Walk.events[state] for state in State) >= 10, f"walks go on in every state, both ends: {Walk.events}"
