"""How many machines: within the limits, enough for what waits, gradually fewer, none that costs more than it saves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.service import fleet
from raki.service.fleet import Limits, Load, desired_workers, jobs_to_submit, patience_s, steady_jobs
from raki.service.scheduling import QueueDepth

counts = st.integers(min_value=0, max_value=500)
depths = st.builds(QueueDepth, waiting=counts, in_flight=counts)
workers = st.integers(min_value=0, max_value=40)
limits = st.builds(lambda most, surge: Limits(most=most, most_ever=most * surge), st.integers(1, 20), st.integers(1, 3))
seconds = st.floats(min_value=1, max_value=600)
loads = st.builds(Load, seconds_a_scan=seconds, scans_a_second=st.floats(min_value=0, max_value=1))


@given(queue=depths, pace=seconds, current=workers, quiet=st.integers(0, 5), limits=limits, deploying=st.booleans())
def test_workers_stay_within_the_limits_and_no_scan_is_left_without_one(queue, pace, current, quiet, limits, deploying):
    arguments = {"seconds_a_scan": pace, "limits": limits, "is_deploying": deploying}
    desired = desired_workers(queue, current=current, quiet_polls=quiet, **arguments)
    assert min(1, queue.total) <= desired <= limits.most_ever
    if deploying or quiet < 2:
        assert desired >= min(current, limits.most_ever)
    assert desired == desired_workers(
        QueueDepth(waiting=queue.in_flight, in_flight=queue.waiting), current=current, quiet_polls=quiet, **arguments
    ), "a scan in work counts as one that waits"


@given(queue=depths, more=counts, pace=seconds, current=workers, quiet=st.integers(0, 5), limits=limits)
def test_more_messages_never_mean_fewer_workers(queue, more, pace, current, quiet, limits):
    deeper = QueueDepth(waiting=queue.waiting + more, in_flight=queue.in_flight)
    arguments = {"seconds_a_scan": pace, "current": current, "quiet_polls": quiet, "limits": limits}
    fewer = desired_workers(queue, is_deploying=False, **arguments)
    assert fewer <= desired_workers(deeper, is_deploying=False, **arguments)


def scaled(waiting, *, current, quiet=0, pace=10.0, most=8, most_ever=16, in_flight=0):
    queue = QueueDepth(waiting=waiting, in_flight=in_flight)
    limits = Limits(most=most, most_ever=most_ever)
    return desired_workers(
        queue, seconds_a_scan=pace, current=current, quiet_polls=quiet, limits=limits, is_deploying=False
    )


def test_scaling_in_is_gradual_and_goes_on_while_others_are_at_work():
    assert scaled(0, in_flight=1, current=8, quiet=1) == 8, "one quiet poll proves nothing"
    course = [8]
    for _ in range(4):
        course.append(scaled(0, in_flight=1, current=course[-1], quiet=2))
    assert course == [8, 4, 2, 1, 1]
    assert scaled(0, current=1, quiet=2) == 0


def test_workers_follow_the_seconds_of_work_not_the_number_of_scans():
    assert scaled(12, current=0, pace=5.0) == 1
    assert scaled(12, current=0, pace=30.0) == 6


def test_a_queue_that_takes_long_lifts_the_ordinary_limit_and_a_short_one_does_not():
    assert scaled(400, current=0, pace=10.0) == 8
    assert scaled(720, current=0, pace=10.0) == 12, "7,200 s of work within ten minutes"
    assert scaled(5000, current=0, pace=10.0) == 16


@given(n=counts, load=loads, unfinished=st.integers(0, 40), warm=st.booleans(), limits=limits)
def test_jobs_stay_within_the_limits_and_no_scan_is_left_without_one(n, load, unfinished, warm, limits):
    submitted = jobs_to_submit(n, load=load, unfinished_jobs=unfinished, is_kept_warm=warm, limits=limits)
    assert submitted == 0 or submitted + unfinished <= limits.most_ever
    if n or warm:
        assert submitted + unfinished >= 1
    elif load.machines <= 1:
        assert submitted == 0, "nothing is started for nothing"


def submitted(n, *, unfinished, scans_an_hour=0.0, pace=60.0, most=4, most_ever=8, warm=False):
    load = Load(seconds_a_scan=pace, scans_a_second=scans_an_hour / 3600)
    limits = Limits(most=most, most_ever=most_ever)
    return jobs_to_submit(n, load=load, unfinished_jobs=unfinished, is_kept_warm=warm, limits=limits)


def test_another_instance_is_started_only_where_work_is_left_when_it_is_there():
    assert submitted(7, unfinished=1) == 0, "420 s of work: 90 s are left after 330 s, soon done"
    assert submitted(20, unfinished=1) == 3, "870 s are left, which two minutes want eight for: four in ordinary times"
    assert submitted(60, unfinished=1) == 5, "an hour of work: six do it within ten minutes"


@pytest.mark.parametrize("pace", [10.0, 600.0, 1800.0])
@pytest.mark.parametrize("n", [1, 3])
def test_a_scan_is_one_jobs_however_long_it_takes(n, pace):
    """Ten minutes of work are five backlogs, and yet nothing that a second job could help with."""
    assert submitted(n, unfinished=0, pace=pace) <= n
    assert submitted(n, unfinished=n, pace=pace) == 0


def test_under_a_steady_load_jobs_are_there_before_the_queue_is_long():
    assert submitted(0, unfinished=2, scans_an_hour=220) == 2, "3.7 GPUs at work"
    assert submitted(0, unfinished=0, scans_an_hour=40) == 0, "with less than one at work, only for scans that wait"


def test_a_job_waits_as_long_as_waiting_costs_less_than_a_start():
    def patience(scans_an_hour, jobs, warm=False):
        load = Load(seconds_a_scan=60.0, scans_a_second=scans_an_hour / 3600)
        return patience_s(load=load, unfinished_jobs=jobs, is_kept_warm=warm)

    assert 3600 / 9 < fleet.START_COST_S < 3600 / 7
    assert patience(9, jobs=1) == fleet.PATIENT_S
    assert patience(7, jobs=1) == fleet.IMPATIENT_S
    assert patience(7, jobs=1, warm=True) == fleet.PATIENT_S
    assert patience(9, jobs=2) == fleet.IMPATIENT_S, "the second has nothing to wait for"
    assert patience(220, jobs=4) == fleet.PATIENT_S
    assert patience(220, jobs=5) == fleet.IMPATIENT_S


@given(loads)
def test_steady_jobs_are_at_work_for_most_of_the_time_where_there_are_several(load):
    jobs = steady_jobs(load)
    if jobs > 1:
        assert jobs - 1 < load.machines / fleet.OCCUPANCY <= jobs


def test_a_budget_keeps_one_warm_without_any_scan():
    assert submitted(0, unfinished=0, warm=True) == 1
    assert submitted(0, unfinished=1, warm=True) == 0


@pytest.mark.parametrize("unfinished", [0, 1, 4, 8])
def test_a_limit_of_one_stays_one(unfinished):
    assert submitted(500, unfinished=unfinished, most=1, most_ever=1, scans_an_hour=900) == (unfinished == 0)
