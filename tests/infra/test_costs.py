"""What `raki cost` promises. Every amount was worked out by hand from the prices below, not read off the program."""

import inspect
import json
import math
import re
import subprocess
import sys
from dataclasses import fields, replace
from importlib.resources import files

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import arrivals
from infra.costs import formulas
from infra.costs.command import cost
from infra.costs.course import HOSPITAL, HOURLY, evenly
from infra.costs.estimate import (
    GPU_DISK_GB,
    IMPATIENT_MINUTES,
    PATIENT_MINUTES,
    REPLACED_RAW_DAYS,
    START_COST_MINUTES,
    WORKER,
    Workload,
    estimate,
)
from infra.costs.fixed import (
    ALARMS,
    ARCHIVE_ALARMS,
    ARCHIVE_METRICS,
    CATALOGUE_ALARMS,
    CATALOGUE_METRICS,
    COMPACTION,
    COMPACTION_MINUTES,
    DASHBOARDS,
    IMPORT_ALARMS,
    IMPORT_METRICS,
    KEYS,
    METRICS,
    SENDER,
    days_a_week,
    fixed_cost,
    interface_endpoints,
    warm_gpu_hours,
)
from infra.costs.hourly import hourly_prices
from infra.costs.price_list import read_prices
from infra.costs.prices import Prices, PricesError
from infra.deployment import PROFILES, Deployment
from infra.gpus import INSTANCE_TYPES
from infra.monitoring.metrics import METRICS as DIMENSIONS_OF
from infra.monitoring.metrics import VALUES
from infra.network.endpoints import INTERFACE_ENDPOINTS
from infra.pipeline.instances import DEAREST_HOUR_USD
from raki.service import fleet
from raki.service.cost import HourlyPrices, scan_cost
from tests.infra.conftest import DEPLOYMENTS

APP = typer.Typer()
APP.command()(cost)

# Those of us-east-1 in November 2026. The package's own file may move on; what is worked out here stays.
PRICES = Prices(
    fargate_x86_vcpu_hour=0.04048,
    fargate_x86_gb_hour=0.004445,
    fargate_arm_vcpu_hour=0.03238,
    fargate_arm_gb_hour=0.00356,
    fargate_disk_gb_hour=0.000111,
    fargate_disk_free_gb=20,
    g4dn_xlarge_hour=0.526,
    g5_xlarge_hour=1.006,
    g6_xlarge_hour=0.8048,
    spot_factor=0.4,
    fsx_scratch_gb_month=0.140,
    fsx_persistent_gb_month=0.145,
    s3_standard_gb_month=0.023,
    s3_tiering_gb_month=0.023,
    s3_tiering_thousand_month=0.0025,
    s3_put_thousand=0.005,
    s3_get_thousand=0.0004,
    deep_archive_gb_month=0.00099,
    deep_archive_transition_thousand=0.05,
    deep_archive_restore_gb=0.02,
    deep_archive_bulk_restore_gb=0.0025,
    healthimaging_gb_month=0.105,
    healthimaging_archive_gb_month=0.006,
    healthimaging_least_mb=5,
    backup_gb_month=0.05,
    backup_copied_gb=0.02,
    gateway_gb=0.01,
    gateway_free_gb=100,
    gateway_most_month=125,
    gateway_instance_hour=0.192,
    gateway_disk_gb_month=0.08,
    egress_gb=0.09,
    egress_free_gb=100,
    endpoint_zone_hour=0.01,
    endpoint_gb=0.01,
    nat_hour=0.045,
    nat_gb=0.045,
    public_address_hour=0.005,
    athena_tb=5,
    key_month=1,
    secret_month=0.4,
    metric_month=0.30,
    alarm_month=0.10,
    dashboard_month=3,
    logs_gb=0.50,
)
WORKLOAD = Workload(
    scans_per_day=200,
    days_per_month=21,
    course=evenly(10),
    raw_gb=2.4,
    raw_versions=2,
    prepared_gb=7.2,
    prepared_days=21,
    results_gb=0.24,
    imported_gb=0,
    decompress_minutes=1,
    run_minutes=10,
    boot_minutes=5,
    idle_minutes=3,
    scans_per_boot=None,
    retry_rate=0.05,
    instance="g5.xlarge",
)


def deployment(profile, **settings):
    return Deployment.from_context(
        {"raki:profile": profile} | {f"raki:{key}": value for key, value in settings.items()}
    )


@pytest.fixture
def price_file(tmp_path):
    """The prices above as a file, and a way to change it first."""

    def write(change=lambda entries: None):
        entries = {field.name: {"value": float(getattr(PRICES, field.name))} for field in fields(Prices)}
        change(entries)
        described = {"unit": "USD", "source": "a test", "read": "2026-11"}
        lines = ['region = "us-east-1"']
        for name, entry in entries.items():
            lines.append(f"[prices.{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in (described | entry).items()]
        path = tmp_path / "prices.toml"
        path.write_text("\n".join(lines))
        return path

    return write


def run(*arguments):
    return CliRunner().invoke(APP, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def sentence(result):
    """A refusal's text without the box that it stands in."""
    return re.sub(r"[\s│╭╮╰╯─]+", " ", result.stderr)


# The worked example: 2 GB of raw data, 6 GB of k-space, 0.2 GB of results, 20 scans on each of 30 days.


def test_decompression_of_the_worked_example():
    # (4 * 0.03238 + 16 * 0.00356 + (60 - 20) * 0.000111) USD/h = 0.12952 + 0.05696 + 0.00444 = 0.19092; of 3/60 h
    task = formulas.Task(vcpus=4, memory_gb=16, disk_gb=60, architecture="arm64")
    assert formulas.fargate(task, 3, PRICES) == pytest.approx(0.009546)


def test_gpu_of_the_worked_example():
    # (10 + 5) min = 0.25 h; 0.25 * 1.006 = 0.2515, and at 0.4 of that 0.1006
    assert formulas.instance(15, PRICES.g5_xlarge_hour) == pytest.approx(0.2515)
    assert formulas.instance(15, PRICES.g5_xlarge_hour * PRICES.spot_factor) == pytest.approx(0.1006)
    # One run in ten lost and repeated: a tenth more.
    assert formulas.instance(15, PRICES.g5_xlarge_hour, retry_rate=0.1) == pytest.approx(0.27665)


def test_intermediate_storage_of_the_worked_example():
    # Two days and in the mean half of one until midnight: 6 GB * 2.5 / 30.42 months * 0.023 = 0.01134
    assert formulas.stored(6, 2, PRICES.s3_standard_gb_month) == pytest.approx(0.01134, abs=0.00001)


def test_gateway_and_egress_of_the_worked_example():
    # A scan more in a month that is past the free gigabytes: 2 * 0.01 = 0.02, and 0.2 * 0.09 = 0.018
    written = formulas.gateway(1202, PRICES) - formulas.gateway(1200, PRICES)
    left = formulas.egress(240.2, PRICES) - formulas.egress(240, PRICES)
    assert (written, left) == (pytest.approx(0.02), pytest.approx(0.018))


def test_archive_of_the_worked_example():
    # 2 * 0.00099 = 0.00198 a month; in 120 months 0.2376
    assert formulas.archived(2, 1, PRICES) == pytest.approx(0.00198)
    assert formulas.archived(2, 120, PRICES) == pytest.approx(0.2376)


def test_variable_parts_of_the_worked_example_together():
    # 0.0095 + 0.1006 + 0.0113 + 0.038 = 0.159; on demand 0.0095 + 0.2515 + 0.0113 + 0.038 = 0.310
    task = formulas.Task(vcpus=4, memory_gb=16, disk_gb=60, architecture="arm64")
    rest = formulas.fargate(task, 3, PRICES) + formulas.stored(6, 2, PRICES.s3_standard_gb_month) + 0.02 + 0.018
    assert round(rest + formulas.instance(15, 1.006 * 0.4), 2) == 0.16
    assert round(rest + formulas.instance(15, 1.006), 2) == 0.31


def test_fixed_parts_of_the_worked_example():
    # 1200 * 0.140 = 168, a 600th 0.28; for 60 of 730 h 168 * 60 / 730 = 13.81, a 600th 0.023
    assert formulas.fsx(1200, 730, PRICES.fsx_scratch_gb_month) == pytest.approx(168)
    assert formulas.fsx(1200, 730, PRICES.fsx_scratch_gb_month) / 600 == pytest.approx(0.28)
    assert formulas.fsx(1200, 60, PRICES.fsx_scratch_gb_month) == pytest.approx(13.808, abs=0.001)
    assert round(formulas.fsx(1200, 60, PRICES.fsx_scratch_gb_month) / 600, 2) == 0.02
    # 10 endpoints * 2 zones * 730 h * 0.01 = 146, a 600th 0.243
    assert formulas.endpoints(10, 2, 0, PRICES) == pytest.approx(146)
    assert round(formulas.endpoints(10, 2, 0, PRICES) / 600, 2) == 0.24
    # 730 * 0.192 + 150 * 0.08 = 140.16 + 12 = 152.16, a 600th 0.2536
    assert formulas.gateway_host(150, PRICES) == pytest.approx(152.16)
    assert round(formulas.gateway_host(150, PRICES) / 600, 2) == 0.25


# What AWS's own rules do to the formulas


def test_less_than_a_minute_is_billed_as_a_minute():
    task = formulas.Task(vcpus=2, memory_gb=8, disk_gb=200, architecture="x86_64")
    assert (
        formulas.fargate(task, 0.2, PRICES) == formulas.fargate(task, 1, PRICES) < formulas.fargate(task, 1.1, PRICES)
    )
    assert formulas.instance(0.5, 1) == formulas.instance(1, 1) == pytest.approx(1 / 60)


def test_a_disk_within_the_free_part_costs_nothing():
    small, free = (
        formulas.fargate(formulas.Task(vcpus=1, memory_gb=2, disk_gb=gb, architecture="arm64"), 60, PRICES)
        for gb in (0, 20)
    )
    assert small == free == pytest.approx(0.03238 + 2 * 0.00356)


@pytest.mark.parametrize(("gb", "usd"), [(0, 0), (100, 0), (110, 0.1), (12600, 125), (50000, 125)])
def test_a_gateway_has_a_free_part_and_a_cap(gb, usd):
    assert formulas.gateway(gb, PRICES) == pytest.approx(usd)


def test_requests_are_counted_by_parts_of_8_mib():
    # 1 GB = 128 parts: (128 + 3) * 0.005 + 128 * 0.0004 + 2 * 0.05 = 0.655 + 0.0512 + 0.1, a thousandth of it
    found = formulas.requests(put_gb=1, get_gb=1, puts=3, transitions=2, prices=PRICES)
    assert found == pytest.approx(0.0008062)


# What a profile has running all month


def test_minimal_pays_for_one_nat_gateway():
    # 730 * (0.045 + 0.005) + 1 * 0.045 = 36.545; 2 keys and a secret; 54 * 0.30 + 34 * 0.10 + 3 + 0.50 = 23.10
    found = fixed_cost(deployment("minimal"), PRICES, gpu_hour=1.006)
    assert (found.nat, found.keys, found.monitoring) == (pytest.approx(36.545), 2.4, pytest.approx(23.1))
    assert (found.endpoints, found.fsx, found.warm_gpus, found.gateway_host) == (0, 0, 0, 0)


def test_clinic_pays_for_endpoints_in_two_zones_and_a_warm_gpu():
    found = fixed_cost(deployment("clinic"), PRICES, gpu_hour=1.006)
    assert found.endpoints == pytest.approx(len(INTERFACE_ENDPOINTS) * 2 * 7.3 + 0.01)
    # Monday to Friday, 7 to 18: 55 h a week, 52.14 / 12 weeks a month: 238.99 h * 1.006 = 240.42
    assert found.warm_gpus == pytest.approx(240.42, abs=0.005)
    assert (found.nat, found.fsx, found.gateway_host) == (0, 0, 0)


def test_research_pays_for_its_file_system():
    found = fixed_cost(deployment("research"), PRICES, gpu_hour=1.006)
    assert (found.fsx, found.warm_gpus, found.nat) == (pytest.approx(168), 0, 0)
    persistent = deployment("research", scratch="fsx-persistent", fsx_gib=2400)
    assert fixed_cost(persistent, PRICES, gpu_hour=1).fsx == pytest.approx(2400 * 0.145)


def test_settings_of_a_site_count_as_well():
    on_ec2 = deployment("minimal", gateway_on_ec2=True, share_clients="10.1.0.0/16")
    # 730 * 0.192 + (80 + 150) * 0.08 = 140.16 + 18.40
    assert fixed_cost(on_ec2, PRICES, gpu_hour=1).gateway_host == pytest.approx(158.56)
    guests = {"share_clients": "10.1.0.0/16", "share_protocol": "smb", "smb_authentication": "guest"}
    # One endpoint more, for the gateway
    in_one_zone = deployment("minimal", egress="endpoints", gateway_on_ec2=True, **guests)
    endpoints = fixed_cost(in_one_zone, PRICES, gpu_hour=1).endpoints
    assert endpoints == pytest.approx((len(INTERFACE_ENDPOINTS) + 1) * 7.3 + 0.01)
    two = deployment("clinic", warm_gpus=2, warm_days="MON,WED-FRI", warm_from=8, warm_until=12)
    # 2 * 4 h * 4 days * 365 / 84 weeks
    assert warm_gpu_hours(two) == pytest.approx(139.05, abs=0.005)


@pytest.mark.parametrize(
    ("days", "count"), [("MON-FRI", 5), ("MON", 1), ("MON,MON", 1), ("SAT-MON", 3), ("MON-SUN", 7), ("TUE,THU-SAT", 4)]
)
def test_days_of_a_week(days, count):
    assert days_a_week(days) == count


def test_a_day_that_there_is_none_of_is_named():
    with pytest.raises(ValueError, match="ABC is no day of the week"):
        days_a_week("MON-ABC")


# Both together


def test_a_scan_alone_pays_for_its_boot_and_for_the_time_until_its_instance_is_ended():
    """0.13 USD on spot, and with a delay of 20 minutes before Batch ends an instance 0.24."""
    alone = replace(WORKLOAD, scans_per_day=1, course=evenly(24), retry_rate=0)
    found = estimate(deployment("minimal"), alone, PRICES)
    # 10 + 5 + (20 s + 3 min) are 18.33 min, and 1.3 % of scans come in those of another
    assert found.gpu_minutes.total == pytest.approx(18.33, rel=0.015)
    # 18.3 / 60 * (1.006 * 0.4 + 100 * 0.08 / 730)
    assert found.scan.gpu == pytest.approx(18.3 / 60 * (0.4024 + 0.01096), rel=0.01)
    kept = estimate(deployment("minimal"), replace(alone, idle_minutes=20), PRICES)
    assert kept.gpu_minutes.total == pytest.approx(35.33, rel=0.02)
    assert kept.scan.gpu == pytest.approx(0.24, abs=0.005)


def test_minutes_of_a_machine_are_those_of_a_queue_with_setup_and_delayed_shut_off():
    # 0.05 a minute: exp(0.05 * 4) = 1.2214 and 0.05 * 5 = 0.25, over 1 - 0.05 * 2: 1.6349 scans a start; idle for
    # 0.2214 / 0.05 = 4.428 min of it
    machine = formulas.Machine(work=2, start=5, stays=4, most=3)
    found = formulas.minutes_a_scan(machine, per_minute=0.05)
    assert (found.work, found.start, found.idle) == pytest.approx((2, 5 / 1.6349, 4.428 / 1.6349), rel=1e-4)
    # Two at a time, 0.025 groups a minute: 2 * (0.125 + exp(0.1)) / 0.9 = 2.7337 scans
    pairs = formulas.minutes_a_scan(machine, per_minute=0.05, at_once=2)
    assert pairs.start == pytest.approx(5 / 2.7337, rel=1e-4)


def test_more_work_than_one_machine_can_do_has_several_all_the_while():
    # 1.25 a minute of 2 minutes are 2.5, at 0.95 of the time three: 2.4 min a scan; 750 scans a stretch share 3 starts
    machine = formulas.Machine(work=2, start=5, stays=4, most=3)
    found = formulas.minutes_a_scan(machine, per_minute=1.25)
    assert (found.start, found.idle) == pytest.approx((3 * 5 / 750, 0.4 + 3 * 4 / 750))
    # With two at most they work on when the day is over, and are never idle before.
    two = formulas.minutes_a_scan(replace(machine, most=2), per_minute=1.25)
    assert two.idle == pytest.approx(2.5 * 4 / 750)


def test_a_long_scan_has_a_machine_of_its_own_where_none_is_free():
    # 0.25 a minute, each free for 4 minutes: none is free for 1 / (1 + 1) of the time; 4 * (1 + 0.5) / 2 min idle
    machine = formulas.Machine(work=10, start=5, stays=4, most=16)
    found = formulas.minutes_a_scan(machine, per_minute=0.25)
    assert (found.start, found.idle) == pytest.approx((2.5, 3))
    # Ten a minute on three: these work without an end.
    busy = formulas.minutes_a_scan(replace(machine, most=3), per_minute=10)
    assert (busy.start, busy.idle) == (0, 0)
    # Sixteen machines for twenty at once
    burst = formulas.minutes_in_a_burst(machine, burst=20)
    assert (burst.start, burst.idle) == pytest.approx((4, 3.2))


def test_what_comes_after_the_first_machines_is_a_part_of_them_all():
    # Weights 1, 2, 2 of none, one, two: 1 * 2 + 2 * 2 = 6, of which the second one is 2
    assert formulas.beyond(1, mean=2, most=2) == pytest.approx(1 / 3)
    assert formulas.beyond(0, mean=2, most=2) == 1
    assert formulas.beyond(2, mean=2, most=2) == 0
    assert formulas.beyond(2, mean=1e6, most=3) == pytest.approx(1 / 3, abs=1e-5)


def test_scans_share_a_boot_by_hand():
    # Two: 10 min of work, half of 5 and of 3.33
    two = replace(WORKLOAD, scans_per_boot=2)
    hourly = 1.006 + 100 * 0.08 / 730
    expected = (10 + (5 + 3 + 1 / 3) / 2) / 60 * hourly
    assert estimate(deployment("minimal"), two, PRICES).on_demand_gpu == pytest.approx(expected)


def test_without_spot_a_gpu_costs_what_it_does_on_demand():
    """One instance at most is one on demand, which nobody takes back."""
    one = estimate(deployment("minimal", surge=1), WORKLOAD, PRICES)
    assert one.scan.gpu == one.on_demand_gpu > 0


def test_an_hour_at_most_is_one_of_all_machines_that_may_run():
    found = estimate(deployment("clinic"), WORKLOAD, PRICES)
    # 8 GPUs of 1.006 and their disks, 16 workers of 0.1365
    assert found.most_gpus == 8
    assert found.most_hour == pytest.approx(8 * (1.006 + 0.010959) + 16 * 0.1365, abs=1e-4)


def test_how_jobs_wait_for_scans_is_counted_as_the_dispatcher_tells_them():
    assert pytest.approx((START_COST_MINUTES * 60, PATIENT_MINUTES * 60, IMPATIENT_MINUTES * 60)) == (
        fleet.START_COST_S,
        fleet.PATIENT_S,
        fleet.IMPATIENT_S,
    )
    assert fleet.OCCUPANCY == formulas.OCCUPANCY
    # A second job, where what one has before it is more than it does while another starts, and a backlog beside it
    assert 2 * 60 * formulas.OWN_MACHINE_MINUTES == fleet.INSTANCE_START_S + fleet.JOB_BACKLOG_S


def test_a_hospitals_day_is_that_of_the_simulations():
    assert HOURLY == arrivals.HOURLY
    assert (HOSPITAL.in_bursts, HOSPITAL.burst) == (arrivals.IN_BURSTS, sum(arrivals.BURST) / 2)


def test_a_warm_gpu_does_what_it_has_the_time_for():
    idle = estimate(deployment("clinic"), replace(WORKLOAD, scans_per_day=60), PRICES)
    assert idle.scan.gpu == idle.on_demand_gpu == 0  # 1260 scans of 10 min are 210 of 239 hours


def test_a_question_is_billed_by_what_it_reads_and_as_10_mb_at_least():
    assert formulas.question(200, PRICES) == pytest.approx(1)
    assert formulas.question(0.001, PRICES) == formulas.question(0.01, PRICES) == pytest.approx(0.00005)


def test_images_in_healthimaging_are_billed_by_the_month_and_as_5_mb_at_least():
    def of(gb):
        return estimate(deployment("minimal"), replace(WORKLOAD, imported_gb=gb), PRICES)

    # 0.1 GB * 0.105 in the first month, * 0.006 in each later one; 5 MB * 0.105
    assert of(0.1).scan.healthimaging == pytest.approx(0.0105)
    assert of(0.1).healthimaging_month == pytest.approx(0.0006)
    assert of(0.001).scan.healthimaging == pytest.approx(0.005 * 0.105)
    assert of(0).scan.healthimaging == of(0).healthimaging_month == 0
    assert of(0.1).growth - of(0).growth == pytest.approx(4200 * 0.0006)
    assert of(0.1).scan.total - of(0).scan.total == pytest.approx(0.0105)


def test_backups_are_billed_by_what_the_vault_holds_and_once_more_in_another_region():
    elsewhere = "arn:aws:backup:eu-west-1:123456789012:backup-vault:raki"
    workload = replace(WORKLOAD, raw_gb=2, raw_versions=1, results_gb=0.2)
    off, vault, both = (
        estimate(deployment("minimal", **settings), workload, PRICES)
        for settings in ({}, {"backup": "vault"}, {"backup": "cross-region", "backup_copy_to": elsewhere})
    )
    assert off.scan.backup == off.backup_month == 0
    # 2 GB for the 30 days until the archive and 35 after, 0.2 GB for a month: at 0.05 by the GB and month
    assert vault.scan.backup == pytest.approx(2 * 65 * 12 / 365 * 0.05 + 0.2 * 0.05)
    assert both.scan.backup == pytest.approx(2 * vault.scan.backup + 2.2 * 0.02)
    assert (vault.backup_month, both.backup_month) == pytest.approx((0.01, 0.02))
    assert vault.growth - off.growth == pytest.approx(workload.scans * 0.01)


def test_the_command_counts_a_backup_where_it_is_asked_to():
    arguments = ("--scans-per-day", 200, "--gb", 2.4, "--profile", "minimal", "--json", "--backup")
    of = [json.loads(run(*arguments, one).stdout)["profiles"]["minimal"] for one in ("off", "vault", "cross-region")]
    costs = [one["each_scan"]["backup"] for one in of]
    assert costs[0] == 0 < costs[1] < costs[2] / 2


def test_the_command_counts_imports_where_it_is_asked_to():
    arguments = ("--scans-per-day", 200, "--gb", 2.4, "--profile", "minimal", "--json")
    without, imported = (
        json.loads(run(*arguments, *more).stdout)["profiles"]["minimal"] for more in ((), ("--imported-gb", 0.1))
    )
    assert without["each_scan"]["healthimaging"] == 0
    assert imported["each_scan"]["healthimaging"] == pytest.approx(0.0105)
    watching = IMPORT_METRICS * PRICES.metric_month + IMPORT_ALARMS * PRICES.alarm_month
    assert imported["each_month"]["monitoring"] - without["each_month"]["monitoring"] == pytest.approx(watching)


def test_workers_are_priced_by_their_architecture():
    arm = estimate(deployment("minimal", worker_architecture="arm64"), WORKLOAD, PRICES)
    intel = estimate(deployment("minimal"), WORKLOAD, PRICES)
    # (2 * 0.03238 + 8 * 0.00356 + 180 * 0.000111) USD an hour, and 0.1365
    assert arm.scan.decompression / intel.scan.decompression == pytest.approx((0.06476 + 0.02848 + 0.01998) / 0.1365)


@given(
    few=st.integers(1, 2000),
    more=st.integers(1, 2000),
    gb=st.floats(0.01, 50),
    run_minutes=st.floats(0.5, 120),
    boot_minutes=st.floats(0, 30),
    profile=st.sampled_from(sorted(PROFILES)),
    instance=st.sampled_from(INSTANCE_TYPES),
)
def test_more_scans_never_cost_less_a_month(few, more, gb, run_minutes, boot_minutes, profile, instance):
    def of(scans_per_day):
        sizes = {"raw_gb": gb, "prepared_gb": 3 * gb, "results_gb": gb / 10, "instance": instance}
        times = {"run_minutes": run_minutes, "boot_minutes": boot_minutes, "scans_per_day": scans_per_day}
        return estimate(deployment(profile), replace(WORKLOAD, **sizes, **times), PRICES)

    less, larger = of(few), of(few + more)
    rounding = 1 + 1e-9
    assert less.month <= larger.month * rounding
    assert less.on_demand_month <= larger.on_demand_month * rounding
    assert less.fixed == larger.fixed
    assert all(amount >= 0 for amount in (less.scan.total, less.growth, less.on_demand_gpu))


# The command


def test_the_table_has_every_part_and_every_profile(price_file):
    evenly_by_two = ("--hours-per-day", 24, "--scans-per-boot", 2)
    result = run("--scans-per-day", 200, "--gb", 2.4, *evenly_by_two, "--prices", price_file())
    assert result.exit_code == 0
    row = {
        cells[0].strip(): [cell.strip() for cell in cells[1:]]
        for cells in (re.split("[│┃]", line) for line in result.stdout.splitlines())
    }
    assert row["each scan"] == ["minimal", "clinic", "research"]
    # 0.1389 a minute: exp(0.2083) = 1.2316, (0.1042 + 1.2316) / (1 - 0.1389) = 1.5513 scans a start; a scan is
    # 1 + 0.75 / 1.5513 + 0.2316 / 0.1389 / 1.5513 = 2.558 min of (2 * 0.04048 + 8 * 0.004445 + 180 * 0.000111) USD/h
    assert row["decompression"] == ["0.0058"] * 3
    # 10 + (5 + 3.333) / 2 = 14.1667 min, at 0.1389 a minute 1.968 instances: of three at most 13 % beyond the two that
    # may be on spot, 0.4 + 0.6 * 0.1316 of 1.006 and for the disk 0.01096 USD/h, 1.05 runs a scan. Clinic's warm GPU
    # does 1433.9 of 4200 scans; of seven others four may be on spot, of research's sixteen eight.
    assert row["GPU, spot first"] == ["0.1222", "0.0708", "0.1025"]
    assert row["(GPU, if on demand)"] == ["0.2401", "0.1581", "0.2401"]
    assert row["k-space in S3, 2 days"] == ["0.0136"] * 3  # 7.2 * 0.023 * 2.5 / 30.4167
    assert row["raw in S3 until archived"] == ["0.0581"] * 3  # 2.4 * 0.023 * (30.5 + 1.5) / 30.4167
    assert row["results in S3, first month"] == ["0.0055"] * 3  # 0.24 * 0.023 + 10 * 0.0025 / 1000
    assert row["gateway"] == ["0.0238"] * 3  # (4200 * 2.4 - 100) * 0.01 = 99.80, a 4200th
    assert row["egress"] == ["0.0195"] * 3  # (4200 * 0.24 - 100) * 0.09 = 81.72, a 4200th
    # 9.84 GB are 1260 parts: ((1260 + 11) * 0.005 + 1260 * 0.0004 + 2 * 0.05) / 1000
    assert row["requests to S3"] == ["0.0070"] * 3
    assert row["a scan"] == ["0.2554", "0.2041", "0.2357"]
    zones = f"{len(INTERFACE_ENDPOINTS) * 14.6 + 0.01:.2f}"
    assert row["interface endpoints"] == ["-", zones, zones]
    assert row["NAT gateway"] == ["36.55", "-", "-"]
    assert row["FSx for Lustre"] == ["-", "-", "168.00"]
    assert row["keys and a secret"] == ["2.40"] * 3
    assert row["warm GPUs, on demand"] == ["-", "243.04", "-"]
    assert row["gateway on EC2"] == ["-"] * 3
    assert row["metrics, alarms, dashboard, logs"] == ["23.10"] * 3
    # 4200 * 0.255392 = 1072.65, and 36.545 + 2.4 + 23.1; 4200 * 0.204072 = 857.10, and 243.04 + 0.01 + 2.4 + 23.1;
    # 4200 * 0.235703 = 989.95, and 168 + 0.01 + 2.4 + 23.1
    in_two_zones = len(INTERFACE_ENDPOINTS) * 14.6
    months = [1134.69, 1125.65 + in_two_zones, 1183.46 + in_two_zones]
    assert [float(month.replace(",", "")) for month in row["a month"]] == pytest.approx(months, rel=1e-4)
    assert row["an hour at most, all machines"] == ["3.87", "10.32", "20.64"]  # 3, 8, 16 GPUs; 6, 16, 32 workers
    assert row["a scan, all in all"][0] == "0.2702"
    assert row["archive of a scan, each month"] == ["0.0048"] * 3  # 4.8 * 0.00099
    assert row["added to each later month's bill"] == ["43.25"] * 3  # 4200 * (0.004752 + 0.005545)


def test_the_notes_say_what_the_numbers_rest_on(price_file):
    def doubt(entries):
        entries["spot_factor"]["check"] = True
        entries["egress_gb"]["read"] = "2026-10-05"

    result = run("--scans-per-day", 200, "--gb", 2.4, "--prices", price_file(doubt))
    text = " ".join(result.stdout.split())
    assert "Prices of us-east-1 read 2026-10-05; to be checked: spot_factor." in text
    assert "10 min on g5.xlarge" in text
    assert "Restoring a raw scan: 0.048 within 12 h, 0.006 within 48 h." in text
    assert "A question to the catalogue by Athena that reads 1 GB: 0.005." in text
    # 200 scans of 10 min are 33.3 h, and minimal has one job; the others have four and eight
    assert "minimal can't keep up: 33.3 GPU hours a day are needed" in text
    assert text.count("can't keep up") == 1


def test_json_says_the_same_without_rounding(price_file):
    result = run("--scans-per-day", 200, "--gb", 2.4, "--prices", price_file(), "--profile", "clinic", "--json")
    (clinic,) = json.loads(result.stdout)["profiles"].values()
    month = 4200 * clinic["each_scan"]["total"] + clinic["each_month"]["total"]
    assert clinic["month"] == pytest.approx(month)
    assert clinic["scan"] == pytest.approx(month / 4200)
    parts = {name: usd for name, usd in clinic["each_scan"].items() if name not in {"total", "gpu_on_demand"}}
    assert sum(parts.values()) == pytest.approx(clinic["each_scan"]["total"])
    assert clinic["each_scan"]["egress"] == pytest.approx(81.72 / 4200)


def test_a_gateway_in_aws_is_counted_when_it_is_asked_for(price_file):
    arguments = ("--scans-per-day", 20, "--gb", 2, "--prices", price_file(), "--json")
    without, with_one = (json.loads(run(*arguments, *more).stdout) for more in ([], ["--gateway-on-ec2"]))
    # Its host, and without a NAT gateway its endpoint in two zones
    for name, usd in (("minimal", 158.56), ("clinic", 158.56 + 14.6), ("research", 158.56 + 14.6)):
        difference = with_one["profiles"][name]["month"] - without["profiles"][name]["month"]
        assert difference == pytest.approx(usd)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gb", 0], "0 GB is no size of a scan"),
        (["--gb", "nan"], "plain numbers are needed"),
        (["--gb", 2, "--profile", "large"], "large is not among minimal, clinic, research"),
        (["--gb", 2, "--instance", "p5.48xlarge"], "p5.48xlarge is not among g6.xlarge, g5.xlarge, g4dn.xlarge"),
        (["--gb", 2, "--prices", "nowhere.toml"], "nowhere.toml can't be read"),
    ],
)
def test_a_wrong_option_is_one_sentence(arguments, told):
    result = run("--scans-per-day", 10, *arguments)
    assert result.exit_code == 2
    assert told in sentence(result)
    assert "Traceback" not in result.stderr


def _set(name, **values):
    return lambda entries: entries[name].update(values)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda entries: entries.pop("nat_hour"), "lacks nat_hour; copy the package's prices.toml"),
        (lambda entries: entries.update(nat_hours={"value": 1}), "has nat_hours, which no formula asks for"),
        (_set("nat_hour", value=-1), "prices.nat_hour.value is -1: input should be greater than or equal to 0"),
        (_set("nat_hour", value="0.045"), "prices.nat_hour.value is '0.045': input should be a valid number"),
        (_set("nat_hour", read="last year"), "prices.nat_hour.read is 'last year'"),
    ],
)
def test_a_wrong_file_of_prices_is_one_sentence(price_file, change, told):
    path = price_file(change)
    with pytest.raises(PricesError) as caught:
        read_prices(path)
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert told.split()[0] in sentence(run("--scans-per-day", 10, "--gb", 2, "--prices", path))


def test_a_file_that_is_no_toml_is_one_sentence(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PricesError, match="can't be read as TOML"):
        read_prices(path)


def test_the_package_brings_prices_that_can_be_right():
    """Newer ones may differ from those above; a lost zero or a unit mixed up differs by more."""
    found = read_prices()
    for field in fields(Prices):
        assert getattr(PRICES, field.name) / 3 < getattr(found.numbers, field.name) < getattr(PRICES, field.name) * 3
    assert all(price.source and price.unit for price in found.prices.values())
    assert (files("infra.costs") / "prices.toml").is_file()


def test_the_command_needs_no_cdk():
    heavy = "aws_cdk", "boto3", "torch"
    loaded = f"import sys, infra.costs.command; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", loaded], text=True).strip() == "[]"


# What is counted is what is deployed


def found(templates, kind):
    """Properties of all resources of a kind, in whichever stack they are."""
    everything = [one for template in templates.values() for one in template["Resources"].values()]
    return [resource.get("Properties", {}) for resource in everything if resource["Type"] == kind]


def tasks(templates, container):
    """Of the task definitions, those of this container."""
    there = found(templates, "AWS::ECS::TaskDefinition")
    return [task for task in there if container in {one["Name"] for one in task["ContainerDefinitions"]}]


def test_the_network_that_is_counted_is_deployed(all_reviewed):
    for profile, settings in DEPLOYMENTS.items():
        templates = dict(all_reviewed[profile].templates)
        templates.pop("RakiDevelopment", None)  # which is not counted, as the command says
        there = found(templates, "AWS::EC2::VPCEndpoint")
        counted = interface_endpoints(Deployment.from_context({"raki:profile": profile, **settings}))
        assert sum(one.get("VpcEndpointType") == "Interface" for one in there) == counted
        assert len(found(templates, "AWS::EC2::NatGateway")) == (0 if counted else 1)


def test_keys_dashboards_and_alarms_that_are_counted_are_deployed(reviewed):
    assert len(found(reviewed.templates, "AWS::KMS::Key")) == KEYS
    assert len(found(reviewed.templates, "AWS::CloudWatch::Dashboard")) == DASHBOARDS
    of_archive = ARCHIVE_ALARMS if tasks(reviewed.templates, "Sender") else 0
    of_imports = IMPORT_ALARMS if found(reviewed.templates, "AWS::HealthImaging::Datastore") else 0
    of_catalogue = CATALOGUE_ALARMS if tasks(reviewed.templates, "Compactor") else 0
    there = len(found(reviewed.templates, "AWS::CloudWatch::Alarm")) - of_archive - of_imports - of_catalogue
    assert ALARMS - 8 <= there <= ALARMS


def test_all_metrics_are_counted():
    values = [[len(VALUES[name]) for name in dimensions] for _unit, dimensions in DIMENSIONS_OF.values()]
    assert sum(math.prod(one) for one in values) == METRICS + ARCHIVE_METRICS + IMPORT_METRICS + CATALOGUE_METRICS


def test_the_worker_that_is_counted_is_deployed(reviewed):
    (task,) = tasks(reviewed.templates, "Worker")
    assert int(task["Cpu"]) == WORKER["vcpus"] * 1024
    assert int(task["Memory"]) == WORKER["memory_gb"] * 1024
    assert task["EphemeralStorage"]["SizeInGiB"] == WORKER["disk_gb"]


def test_the_sender_that_is_counted_is_deployed_where_there_is_an_archive(all_reviewed):
    for profile, settings in DEPLOYMENTS.items():
        senders = tasks(all_reviewed[profile].templates, "Sender")
        counted = fixed_cost(Deployment.from_context({"raki:profile": profile, **settings}), PRICES, gpu_hour=1).sender
        assert bool(senders) == bool(counted) == ("raki:pacs" in settings)
        for task in senders:
            assert (int(task["Cpu"]), int(task["Memory"])) == (SENDER["vcpus"] * 1024, SENDER["memory_gb"] * 1024)
            assert "EphemeralStorage" not in task  # Fargate's own 20 GB
    on_arm = Deployment.from_context({"raki:profile": "clinic", **DEPLOYMENTS["clinic"]})
    hourly = 0.25 * PRICES.fargate_arm_vcpu_hour + 2 * PRICES.fargate_arm_gb_hour
    assert fixed_cost(on_arm, PRICES, gpu_hour=1).sender == pytest.approx(730 * hourly)


def test_the_compaction_that_is_counted_is_deployed_as_often(all_reviewed):
    for profile, settings in DEPLOYMENTS.items():
        there = tasks(all_reviewed[profile].templates, "Compactor")
        told = {"raki:profile": profile, **settings}
        counted = fixed_cost(Deployment.from_context(told), PRICES, gpu_hour=1).compaction
        assert bool(there) == bool(counted) == ("raki:catalogue" in settings)
        for task in there:
            assert (int(task["Cpu"]), int(task["Memory"])) == (
                COMPACTION["vcpus"] * 1024,
                COMPACTION["memory_gb"] * 1024,
            )
            assert "EphemeralStorage" not in task  # Fargate's own 20 GB
    hourly = 0.04048 + 8 * 0.004445
    for hours, times in ((24, 730 / 24), (1, 730)):
        told = {"raki:catalogue": "true", "raki:catalogue_compaction_h": hours}
        found = fixed_cost(Deployment.from_context(told), PRICES, gpu_hour=1).compaction
        assert found == pytest.approx(times * COMPACTION_MINUTES / 60 * hourly)
    off = Deployment.from_context({"raki:catalogue": "true", "raki:catalogue_compaction_h": 0})
    assert fixed_cost(off, PRICES, gpu_hour=1).compaction == 0


def test_the_command_counts_the_compaction_where_it_is_asked_to():
    without, counted = (
        json.loads(run("--scans-per-day", 10, "--gb", 2, "--profile", "minimal", "--json", *more).stdout)["profiles"]
        for more in ((), ("--catalogue",))
    )
    assert without["minimal"]["each_month"]["compaction"] == 0
    assert 0.05 < counted["minimal"]["each_month"]["compaction"] < 1


def test_the_disk_of_an_instance_that_is_counted_is_deployed(reviewed):
    (template,) = [
        one
        for one in found(reviewed.templates, "AWS::EC2::LaunchTemplate")
        if "BlockDeviceMappings" in one["LaunchTemplateData"]
    ]
    (root,) = template["LaunchTemplateData"]["BlockDeviceMappings"]
    assert root["Ebs"] | {"VolumeSize": GPU_DISK_GB, "VolumeType": "gp3"} == root["Ebs"]


def test_k_space_is_kept_as_long_as_it_is_counted(reviewed):
    (prepared,) = [
        resource["Properties"]
        for name, resource in reviewed.templates["RakiStorage"]["Resources"].items()
        if resource["Type"] == "AWS::S3::Bucket" and name.startswith("Prepared")
    ]
    days = {
        rule["ExpirationInDays"]
        for rule in prepared["LifecycleConfiguration"]["Rules"]
        if rule.get("TagFilters") == [{"Key": "raki", "Value": "reconstructed"}]
    }
    assert days == {inspect.signature(cost).parameters["k_space_days"].default}


def test_replaced_raw_versions_are_archived_when_they_are_counted_to_be(reviewed):
    (raw,) = [
        resource["Properties"]
        for name, resource in reviewed.templates["RakiStorage"]["Resources"].items()
        if resource["Type"] == "AWS::S3::Bucket" and name.startswith("Raw")
    ]
    steps = [
        step["TransitionInDays"]
        for rule in raw["LifecycleConfiguration"]["Rules"]
        for step in rule.get("NoncurrentVersionTransitions", [])
    ]
    assert steps == [REPLACED_RAW_DAYS]


def test_a_warm_hour_costs_at_most_what_the_budget_is_divided_by():
    on_demand = (PRICES.g4dn_xlarge_hour, PRICES.g5_xlarge_hour, PRICES.g6_xlarge_hour)
    assert max(on_demand) == DEAREST_HOUR_USD


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
@pytest.mark.parametrize(("gpu", "hour"), [("NVIDIA L4", "g6"), ("NVIDIA A10G", "g5"), ("Tesla T4", "g4dn")])
def test_the_cost_of_a_scan_is_what_the_formulas_say_of_its_own_seconds(architecture, gpu, hour):
    """Three minutes of a worker and ten of a GPU; no boot."""
    deployment = Deployment.from_context({"raki:worker_architecture": architecture})
    prices = read_prices().numbers
    found = scan_cost(
        HourlyPrices.from_json(hourly_prices(deployment)), worker_s=180.0, gpu_s=600.0, gpu=gpu, scan_id="an-id"
    )
    hourly = getattr(prices, f"{hour}_xlarge_hour")
    worker = formulas.fargate(formulas.Task(**WORKER, architecture=architecture), 3, prices)
    assert found["decompress"] == pytest.approx(worker, abs=1e-6)
    assert found["gpu_on_demand"] == pytest.approx(formulas.instance(10, hourly), abs=1e-6)
    assert found["gpu_spot"] == pytest.approx(formulas.instance(10, hourly * prices.spot_factor), abs=1e-6)
    assert found["total_with_spot"] == pytest.approx(found["decompress"] + found["gpu_spot"], abs=2e-6)
    assert found["total_on_demand"] == pytest.approx(found["decompress"] + found["gpu_on_demand"], abs=2e-6)


def test_a_scan_on_a_machine_of_no_known_price_has_no_cost():
    prices = HourlyPrices.from_json(hourly_prices(Deployment.from_context({})))
    for gpu in (None, "NVIDIA H200", "NVIDIA L40S"):
        assert scan_cost(prices, worker_s=1.0, gpu_s=1.0, gpu=gpu, scan_id="an-id") is None
    cost = scan_cost(prices, worker_s=None, gpu_s=60.0, gpu="NVIDIA L4", scan_id="an-id")
    assert (cost["decompress"], cost["total_with_spot"]) == (None, cost["gpu_spot"])


def test_each_kind_of_instance_has_a_price_for_its_gpu():
    assert set(json.loads(hourly_prices(Deployment.from_context({})))["gpus"].values()) == {
        getattr(read_prices().numbers, f"{name.replace('.', '_')}_hour") for name in INSTANCE_TYPES
    }
