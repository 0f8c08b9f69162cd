from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raki.errors import NotAScan, Superseded
from raki.service.ledger import Claim, State
from raki.service.messages import ScanArrived

DROPPED = datetime.now(UTC) - timedelta(minutes=1)
SCAN = ScanArrived(bucket="raw", key="site/a.h5", etag="e1", version_id=None, n_bytes=5, at=DROPPED)
STAGES = (State.DECOMPRESSING, State.RECONSTRUCTING)
NUMBERS = count()
ENDS = (State.DELIVERED, State.FAILED)


def test_a_scan_goes_through_all_states(cloud):
    ledger = cloud.ledger
    assert ledger.arrive("s", SCAN).state is State.ARRIVED
    for stage, end in ((State.DECOMPRESSING, State.PREPARED), (State.RECONSTRUCTING, State.RECONSTRUCTED)):
        assert ledger.claim("s", stage, owner="w", lease_s=30) is Claim.GRANTED
        assert ledger.finish("s", end, owner="w")
    assert ledger.deliver("s")
    record = ledger.get("s")
    assert record.state is State.DELIVERED
    assert set(record.entered_at) == set(State) - {State.FAILED}


def test_one_of_two_workers_gets_the_scan(cloud):
    cloud.ledger.arrive("s", SCAN)
    claims = [cloud.ledger.claim("s", State.DECOMPRESSING, owner=who, lease_s=30) for who in "ab"]
    assert claims == [Claim.GRANTED, Claim.BUSY]


def test_an_expired_lease_is_taken_over_and_the_first_owner_can_no_longer_end_the_stage(cloud):
    cloud.ledger.arrive("s", SCAN)
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=-5)
    assert cloud.ledger.claim("s", State.DECOMPRESSING, owner="b", lease_s=30) is Claim.GRANTED
    assert not cloud.ledger.renew("s", owner="a", lease_s=30)
    assert not cloud.ledger.finish("s", State.PREPARED, owner="a")
    assert cloud.ledger.finish("s", State.PREPARED, owner="b")


def test_a_released_scan_need_not_wait_for_its_lease(cloud):
    cloud.ledger.arrive("s", SCAN)
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=300)
    cloud.ledger.release("s", State.DECOMPRESSING, owner="a", counts=True)
    assert cloud.ledger.claim("s", State.DECOMPRESSING, owner="b", lease_s=30) is Claim.GRANTED


def test_a_request_that_overtakes_the_note_is_early_and_one_after_the_end_is_late(cloud):
    cloud.ledger.arrive("s", SCAN)
    cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
    assert cloud.ledger.claim("s", State.RECONSTRUCTING, owner="b", lease_s=30) is Claim.BUSY
    cloud.ledger.fail("s", NotAScan("no"))
    assert cloud.ledger.claim("s", State.RECONSTRUCTING, owner="b", lease_s=30) is Claim.OVER


def test_a_failed_scan_keeps_its_sentence_and_is_tried_anew_when_dropped_again(cloud):
    cloud.ledger.arrive("s", SCAN)
    cloud.ledger.fail("s", NotAScan("It is a letter."))
    assert cloud.ledger.arrive("s", SCAN).state is State.FAILED  # the same notification, delivered twice
    record = cloud.ledger.get("s")
    assert (record.failure_class, record.failure) == ("NotAScan", "It is a letter.")
    later = replace(SCAN, at=datetime.now(UTC) + timedelta(minutes=1))
    assert cloud.ledger.arrive("s", later).state is State.ARRIVED


def test_going_back_to_an_earlier_version_makes_its_image_anew(cloud):
    ledger = cloud.ledger
    ledger.arrive("s", SCAN)
    ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
    ledger.finish("s", State.RECONSTRUCTED, owner="a")
    ledger.deliver("s")
    assert ledger.arrive("s", SCAN).state is State.DELIVERED  # a late duplicate
    ledger.arrive("other", replace(SCAN, etag="e2", at=DROPPED + timedelta(seconds=9)))
    again = ledger.arrive("s", replace(SCAN, at=datetime.now(UTC) + timedelta(minutes=1)))
    assert again.state is State.ARRIVED
    ledger.check_current(again)


def test_attempts_are_counted_and_being_told_to_stop_is_none(cloud):
    cloud.ledger.arrive("s", SCAN)
    for counts, expected in ((True, 1), (False, 1), (True, 2)):
        cloud.ledger.claim("s", State.DECOMPRESSING, owner="a", lease_s=30)
        cloud.ledger.release("s", State.DECOMPRESSING, owner="a", counts=counts)
        assert cloud.ledger.get("s").attempts[State.DECOMPRESSING] == expected


def test_two_files_never_share_a_results_folder(cloud):
    plain = cloud.ledger.arrive("s1", SCAN)
    archive = cloud.ledger.arrive("s2", replace(SCAN, key="site/a.tar.gz"))
    bare = cloud.ledger.arrive("s3", replace(SCAN, key="site/a"))
    assert plain.results_folder == "site/a"
    assert archive.results_folder == "site/a.tar.gz"
    assert bare.results_folder == "site/a.s3"


def test_the_newer_version_of_a_file_owns_the_folder(cloud):
    old = cloud.ledger.arrive("old", SCAN)
    new = cloud.ledger.arrive("new", replace(SCAN, etag="e2", at=DROPPED + timedelta(seconds=9)))
    cloud.ledger.arrive("old", SCAN)  # a late duplicate changes nothing
    cloud.ledger.check_current(new)
    with pytest.raises(Superseded, match="newer version"):
        cloud.ledger.check_current(old)


def test_delivery_waits_for_the_end_of_the_reconstruction(cloud):
    cloud.ledger.arrive("s", SCAN)
    assert not cloud.ledger.deliver("s")
    cloud.ledger.fail("s", NotAScan("no"))
    assert cloud.ledger.deliver("s")
    assert cloud.ledger.get("s").state is State.FAILED


def test_bookkeeping_is_not_listed_among_the_scans(cloud):
    cloud.ledger.arrive("s", SCAN)
    cloud.ledger.count_quiet_poll("scaler", quiet=True)
    assert [record.scan_id for record in cloud.ledger.scans()] == ["s"]


def test_quiet_polls_are_counted_in_a_row(cloud):
    count = [cloud.ledger.count_quiet_poll("scaler", quiet=quiet) for quiet in (True, True, False, True)]
    assert count == [1, 2, 0, 1]


actions = st.one_of(
    st.tuples(st.just("claim"), st.sampled_from(STAGES), st.sampled_from("ab"), st.sampled_from([-5, 30])),
    st.tuples(st.just("finish"), st.sampled_from([State.PREPARED, State.RECONSTRUCTED]), st.sampled_from("ab")),
    st.tuples(st.just("fail")),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("arrive")),
)


@settings(
    derandomize=True,
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=st.lists(actions, max_size=12))
def test_whatever_happens_in_whatever_order_an_ended_scan_stays_ended(cloud, steps):
    ledger, scan_id = cloud.ledger, f"s{next(NUMBERS)}"  # the table outlives one example
    scan = replace(SCAN, key=f"site/{scan_id}")
    ledger.arrive(scan_id, scan)
    ended = None
    for step in steps:
        match step:
            case ("claim", stage, owner, lease_s):
                ledger.claim(scan_id, stage, owner=owner, lease_s=lease_s)
            case ("finish", state, owner):
                ledger.finish(scan_id, state, owner=owner)
            case ("fail",):
                ledger.fail(scan_id, NotAScan("no"))
            case ("deliver",):
                ledger.deliver(scan_id)
            case ("arrive",):
                ledger.arrive(scan_id, scan)
        now = ledger.get(scan_id).state
        assert ended is None or now is ended
        ended = now if now in ENDS else None
