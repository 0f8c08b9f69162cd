"""What is learnt of arrivals: hour by hour of the week, in spite of approximate counts, and kept as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raki.service.forecast import HOUR_S, HOURS_A_WEEK, Forecast, Pace

WEEK_S = HOURS_A_WEEK * HOUR_S


def polled(forecast, totals, *, start_s=0.0, every_s=60.0):
    for minute, total in enumerate(totals):
        forecast = forecast.observed(start_s + minute * every_s, total)
    return forecast


def test_an_hour_of_the_week_is_expected_to_be_as_it_was():
    busy = polled(Forecast(), range(0, 122))  # one a minute, for two hours
    assert busy.hourly[0] == pytest.approx(60, abs=1)
    ahead = busy.scans_a_second(WEEK_S + 100.0, ahead_s=330.0)
    assert ahead == pytest.approx((60 / HOUR_S + 122 / WEEK_S) / 2, rel=0.05), "half of what the hour was like"
    assert busy.scans_a_second(5.0 * HOUR_S, ahead_s=0.0) < 60 / HOUR_S / 3


def test_what_comes_lately_counts_as_much():
    forecast = polled(Forecast(), [0] * 16)
    assert forecast.scans_a_second(900.0, ahead_s=330.0) == 0
    burst = polled(forecast, [18] * 2, start_s=960.0)
    assert burst.scans_a_second(1020.0, ahead_s=330.0) == pytest.approx(18 / 900 / 2, rel=0.1)


def test_later_weeks_weigh_more():
    forecast = Forecast().observed(0.0, 0)
    forecast = forecast.observed(HOUR_S - 1.0, 40).observed(HOUR_S + 1.0, 40)
    forecast = forecast.observed(WEEK_S + 1.0, 40).observed(WEEK_S + HOUR_S - 1.0, 50)
    assert forecast.observed(WEEK_S + HOUR_S + 1.0, 50).hourly[0] == 25


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60))
def test_counts_that_go_back_for_a_while_are_no_arrivals(totals):
    forecast = polled(Forecast().observed(0.0, 0), totals, start_s=1.0, every_s=5.0)
    assert forecast.in_hour == max(totals)
    assert len(forecast.seen) <= 17


@given(st.lists(st.integers(0, 3), max_size=80))
def test_it_comes_back_from_text_as_it_was(steps):
    totals = [sum(steps[: n + 1]) for n in range(len(steps))]
    forecast = polled(Forecast(), totals)
    assert Forecast.from_json(forecast.to_json()) == forecast
    assert len(forecast.to_json()) < 4096


def test_the_budget_goes_to_the_busiest_hours_of_the_day():
    hourly = [0.0] * HOURS_A_WEEK
    hourly[9], hourly[10], hourly[20] = 30.0, 20.0, 0.5
    forecast = Forecast(hourly=tuple(hourly))
    warm = [
        hour for hour in range(24) if forecast.is_worth_keeping_warm(float(hour * HOUR_S), ahead_s=0.0, hours_a_day=1)
    ]
    assert warm == [9]
    assert forecast.is_worth_keeping_warm(10 * HOUR_S - 330.0, ahead_s=330.0, hours_a_day=2)
    assert not forecast.is_worth_keeping_warm(20.0 * HOUR_S, ahead_s=0.0, hours_a_day=24), (
        "hardly a scan ever comes then"
    )
    assert not forecast.is_worth_keeping_warm(9.0 * HOUR_S, ahead_s=0.0, hours_a_day=0)


def test_a_pace_is_believed_when_there_is_enough_of_it():
    assert Pace(n=9, seconds=9.0).seconds_a_scan(otherwise=60.0) == 60.0
    assert Pace(n=10, seconds=50.0).seconds_a_scan(otherwise=60.0) == 5.0
