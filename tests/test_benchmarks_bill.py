"""What `raki cost` says of a month is what a month comes to that is billed event by event."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.arrivals import DAY_S, HOUR_S, Arrival
from benchmarks.bill import DEPLOYMENTS, WITHIN, _by_hour, _machines, _objects, compare, midnight_after
from benchmarks.fleet import Bill
from benchmarks.fleet_parts import Scan
from infra.costs.price_list import read_prices
from infra.deployment import Deployment

PRICES = read_prices().numbers


@pytest.mark.parametrize("load", [10, 200])
@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_estimate_is_within_a_tenth_of_the_simulated_bill(name, load):
    found = compare(name, load, seed=21)
    assert abs(found.off) < WITHIN
    # Nothing makes up for another part that is wrong; few scans are a few more or less in a month.
    some = sum(found.simulated.values()) / 50
    for part, simulated in found.simulated.items():
        assert found.estimated[part] == pytest.approx(simulated, rel=0.25, abs=some), part


def test_long_scans_are_estimated_as_well():
    found = compare("minimal", 10, seed=21, run_minutes=10)
    assert abs(found.off) < WITHIN


def test_a_machine_is_billed_by_the_second_and_for_a_minute_at_least():
    class Seen:
        bill = Bill(task_s=[10.0], instance_s=[HOUR_S * 2.0, 30.0], on_demand_s=[30.0])

    found = _machines(Seen(), Deployment.from_context({}), PRICES)
    # A minute of 2 vCPU, 8 GB and 180 GB; two hours on spot and a minute on demand, with their disks
    assert found["decompression"] == pytest.approx((2 * 0.04048 + 8 * 0.004445 + 180 * 0.000111) / 60)
    assert found["GPU"] == pytest.approx(2 * 0.4024 + 1.006 / 60 + (2 + 1 / 60) * 100 * 0.08 / 730)


def test_an_object_is_billed_from_when_it_is_written_until_the_midnight_after_its_rule():
    scan = Scan(Arrival(at_s=10 * HOUR_S, gb=1.0), prepared_s=12 * HOUR_S, done_s=13 * HOUR_S)
    found = _objects([scan], Deployment.from_context({}), PRICES)
    # Prepared at noon of day 0, due at noon of day 2, gone at its midnight: 60 h of 3 GB
    assert found["k-space in S3"] == pytest.approx(3 * 60 / 730 * 0.023)
    # The first version until midnight of day 1, the last until that of day 30: 38 h and 734 h
    assert found["raw in S3"] == pytest.approx((38 + 734) / 730 * 0.023, rel=1e-4)
    assert midnight_after(DAY_S) == DAY_S


def test_what_is_there_all_month_is_billed_by_the_hour():
    found = _by_hour(Deployment.from_context({"raki:profile": "research"}), PRICES)
    assert found["FSx"] == pytest.approx(168)
    assert found["NAT"] == 0


def test_the_command_writes_what_it_prints(tmp_path):
    arguments = ["bill", "--scans-a-day", "1", "--deployment", "minimal", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    months = json.loads((tmp_path / "bill.json").read_text())["months"]
    assert [one["deployment"] for one in months] == ["minimal"]
    assert f"{sum(months[0]['simulated'].values()):.2f}" in result.output
