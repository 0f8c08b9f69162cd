"""The fleet's benchmark: no scan is lost in the model, and its yardsticks are right."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.arrivals import DAY_S, WEEK_S, Arrival, arrivals
from benchmarks.fleet import Fleet
from benchmarks.fleet_before import Before
from benchmarks.fleet_now import Now, learnt
from benchmarks.fleet_parts import Times, decompress_s, reconstruct_s
from benchmarks.scaling import just_in_time_s, quantile


def now(load, *, seed=0, **settings):
    chosen = {"max_workers": 2, "max_jobs": 1, "surge": 2, "is_told": False, "week": arrivals(load, seed=seed + 1)}
    return Now(**chosen | settings)


def test_a_weeks_scans_are_as_many_as_asked_for_and_come_by_day():
    week = arrivals(500, seed=3)
    assert len(week) == pytest.approx(7 * 500, rel=0.1)
    assert all(0.1 <= one.gb <= 10 and 0 <= one.at_s < WEEK_S for one in week)
    assert [one.at_s for one in week] == sorted(one.at_s for one in week)
    saturday_on = sum(one.at_s >= 5 * DAY_S for one in week)
    assert saturday_on / len(week) == pytest.approx(0.7 / 5.7, abs=0.04)


def test_a_forecast_learns_the_hours_of_a_week():
    week = arrivals(500, seed=3)
    in_first_morning = sum(10 * 3600 <= one.at_s < 11 * 3600 - 1 for one in week)
    assert learnt(week).hourly[10] == pytest.approx(in_first_morning, abs=1)


@pytest.mark.parametrize(
    "make", [lambda: Before(max_workers=2, max_jobs=1), lambda: now(200), lambda: now(200, is_told=True)]
)
def test_every_scan_is_worked_on_though_instances_are_lost(make):
    days = [one for one in arrivals(200, seed=5) if one.at_s < DAY_S]
    fleet = Fleet(make(), days, seed=5, times=Times(interruptions_an_hour=2.0)).run()
    assert all(scan.waited_s > 0 for scan in fleet.scans)
    assert fleet.ingest.depth.total == fleet.reconstruct.depth.total == 0
    work = sum(reconstruct_s(one.gb) for one in days)
    assert sum(fleet.bill.instance_s) > work
    assert sum(fleet.bill.task_s) > sum(decompress_s(one.gb) for one in days)


def test_there_are_never_more_machines_than_allowed():
    class Watched(Fleet):
        most = 0

        def _decide(self):
            super()._decide()
            self.most = max(self.most, len(self._instances))

    flood = [Arrival(at_s=float(n), gb=1.0) for n in range(300)]
    fleet = Watched(now(200, max_jobs=2), flood, seed=0, times=Times()).run()
    assert fleet.most == 4, "twice as many as in ordinary times, for a flood"


def test_one_scan_alone_waits_for_its_machines_and_no_longer():
    """A poll, a task, and an instance that starts beside it: with the notice at the drop the instance is what takes."""
    times = Times(interruptions_an_hour=1e-9)
    (scan,) = Fleet(now(200, is_told=True), [Arrival(at_s=30.0, gb=1.0)], seed=0, times=times).run().scans
    starts = [
        times.notice,
        times.instance_request,
        times.instance_boot,
        times.placement,
        times.image_pull,
        times.job_start,
    ]
    least, most = (sum(bounds[end] for bounds in starts) - decompress_s(1.0) for end in (0, 1))
    assert least <= scan.waited_s <= most


def test_the_oracle_keeps_a_machine_only_where_that_is_cheaper():
    assert just_in_time_s([(0.0, 10.0), (15.0, 25.0)], start_s=60.0) == 60 + 10 + 5 + 10
    assert just_in_time_s([(0.0, 10.0), (100.0, 110.0)], start_s=60.0) == 2 * (60 + 10)
    assert just_in_time_s([(0.0, 10.0), (5.0, 15.0)], start_s=60.0) == 2 * (60 + 10)
    taken = [(0.0, 10.0), (15.0, 25.0), (20.0, 30.0)]
    assert just_in_time_s(taken, start_s=60.0) == 60 + 10 + 5 + 10 + 60 + 10


def test_quantiles_are_values_that_occurred():
    assert [quantile(range(1, 101), part) for part in (0.5, 0.95, 0.99)] == [50, 95, 99]


def test_the_command_writes_what_it_prints(tmp_path):
    result = CliRunner().invoke(app, ["scaling", "--scans-a-day", "40", "--seed", "2", "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "scaling.json").read_text())
    assert [one["decisions"] for one in found["outcomes"]] == ["before", "each minute", "at each drop too", "an oracle"]
    before, after, *_ = found["outcomes"]
    assert after["p50_s"] < before["p50_s"]
    assert after["usd_a_day"] < before["usd_a_day"]
