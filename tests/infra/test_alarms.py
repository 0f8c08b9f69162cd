"""Which alarms would have fired: the templates' own, on the lines that the service writes."""

import dataclasses
import json
import re

import pytest

from infra.local.alarms.metric_math import NotUnderstood, evaluate
from infra.local.alarms.rehearsal import Verdict, rehearse
from infra.local.alarms.samples import Sample, samples_in
from infra.local.alarms.templates import Alarm, Watched, alarms_of
from raki.errors import NotAScan, WorkerLost
from raki.service import metrics
from raki.service.blocked import Cause
from tests.embedded_metrics import logged

ANY = frozenset({("Outcome", "failed")})


@pytest.fixture(scope="module")
def alarms(assembly):
    return alarms_of(assembly)


@pytest.fixture
def work(assembly, tmp_path):
    """A work folder as `raki local` leaves it."""
    (tmp_path / "cdk.out").symlink_to(assembly)
    (tmp_path / "logs").mkdir()
    return tmp_path


@pytest.fixture
def ran(work):
    """Writes the log of a run: scans that end with these errors, and some that are delivered."""

    def run(*errors, n_delivered=0):
        with logged() as written:
            for number, error in enumerate(errors):
                metrics.ended(f"scan{number}", error)
            for number in range(n_delivered):
                metrics.emit("delivered", {"Scans": 1, "ScanSeconds": 4.2}, Outcome="delivered", scan_id=f"d{number}")
        text = "START RequestId: 1\n" + written.getvalue() + '{"_aws": {"Timestamp": 17'
        (work / "logs/ecs-decompress.log").write_text(text)

    return run


def verdicts(alarms, work):
    return {one.alarm.name: one for one in rehearse(alarms, samples_in(work / "logs"))}


def fired(alarms, work):
    return {name for name, one in verdicts(alarms, work).items() if one.verdict is Verdict.FIRED}


def test_a_clean_run_fires_none(alarms, work, ran):
    ran(n_delivered=7)
    assert fired(alarms, work) == set()
    found = verdicts(alarms, work)["MostScansFail"]
    assert (found.verdict, found.n_samples, found.worst.value) == (Verdict.QUIET, 7, 0)


def test_a_lost_worker_fires_its_own_alarm_and_no_other(alarms, work, ran):
    ran(WorkerLost("lost"), n_delivered=6)
    assert fired(alarms, work) == {"WorkerLost"}
    found = verdicts(alarms, work)["WorkerLost"]
    assert [(period.value, period.breaks) for period in found.periods] == [(1, True)]
    assert found.fired_at == found.periods[0].begins


def test_scans_that_wait_without_a_worker_for_a_quarter_of_an_hour_fire_an_alarm(alarms, work, monkeypatch):
    def minutes(*running):
        with logged() as written:
            for minute, n_running in enumerate(running):
                monkeypatch.setattr(metrics.time, "time", lambda minute=minute: 1.8e9 + 60.0 * minute)
                metrics.emit("decided", {"Waiting": 4, "RunningWorkers": n_running}, Stage="decompressing")
        (work / "logs/scale.log").write_text(written.getvalue())
        return fired(alarms, work)

    assert minutes(*[0] * 20) == {"NoWorkerStarts"}
    assert minutes(*[0] * 9, 1, *[0] * 9) == set(), "one was there, if for a minute"


def test_a_job_that_waits_for_an_instance_fires_the_alarm_of_its_cause(alarms, work):
    with logged() as written:
        metrics.emit("a job waits for an instance", {"RunnableSeconds": 1000}, Cause="Quota")
        metrics.emit("a job waits for an instance", {"RunnableSeconds": 1000}, Cause="Limit")
    (work / "logs/dispatch.log").write_text(written.getvalue())
    assert fired(alarms, work) == {"NoGpuQuota"}, "for each other jobs may wait for an hour"


def test_most_of_five_scans_have_to_fail(alarms, work, ran):
    ran(*[NotAScan("no")] * 3, n_delivered=1)
    assert fired(alarms, work) == set(), "four scans are too few to tell"
    ran(*[NotAScan("no")] * 3, n_delivered=2)
    assert fired(alarms, work) == {"MostScansFail"}
    assert verdicts(alarms, work)["MostScansFail"].worst.value == 60
    ran(*[NotAScan("no")] * 3, n_delivered=3)
    assert fired(alarms, work) == set(), "half is not more than half"


def test_every_alarm_of_the_templates_is_there_and_those_on_aws_own_metrics_are_said_to_be(alarms, assembly, work, ran):
    template = json.loads((assembly / "RakiMonitoring.template.json").read_text())["Resources"].values()
    resources = [one["Properties"] for one in template if one["Type"] == "AWS::CloudWatch::Alarm"]
    assert sorted(alarm.says for alarm in alarms) == sorted(one["AlarmDescription"] for one in resources)
    assert len({alarm.name for alarm in alarms}) == len(alarms)
    ran(n_delivered=1)
    ours = {name for name, one in verdicts(alarms, work).items() if one.verdict is not Verdict.NOT_MEASURED}
    assert ours == {
        *("ImageNotRenewed", "MostScansFail", "NoWorkerStarts", "OutageTooLong", "WorkerLost"),
        *(f"NoGpu{cause}" for cause in Cause),
    }
    for alarm in alarms:
        namespaces = {watched.namespace for watched in alarm.watched.values()} or {"AWS/StorageGateway"}
        assert (namespaces == {"raki"}) == (alarm.name in ours), alarm.name


def alarm(**changed):
    """Three of five minutes above 0, unless it is said otherwise."""
    watched = {"m": Watched(namespace="raki", name="Scans", dimensions=ANY, statistic="Sum")}
    plain = Alarm(
        name="A", says="", watched=watched, expression="m", period_s=60, threshold=0, missing="notBreaching",
        comparison="GreaterThanThreshold", n_periods=5, n_to_alarm=3,
    )  # fmt: skip
    return dataclasses.replace(plain, **changed)


def at(*minutes, value=1.0):
    return [
        Sample(at_s=60.0 * minute + 1, namespace="raki", name="Scans", dimensions=ANY, value=value)
        for minute in minutes
    ]


@pytest.mark.parametrize(
    ("minutes", "fires_in"), [((0, 2, 4), 4), ((0, 3, 6, 9), None), ((0, 5, 6, 7), 7), ((0, 0, 0, 0), None), ((), None)]
)
def test_as_many_periods_of_the_last_ones_have_to_break_the_threshold(minutes, fires_in):
    (found,) = rehearse([alarm()], at(*minutes))
    assert (found.fired_at and found.fired_at.timestamp()) == (None if fires_in is None else 60 * fires_in)


def test_silence_counts_as_the_template_says():
    stopped = alarm(comparison="LessThanThreshold", threshold=1, missing="breaching", n_periods=3, n_to_alarm=3)
    (found,) = rehearse([stopped], at(0, 4))
    assert found.fired_at.timestamp() == 180
    for missing in ("missing", "ignore", "notBreaching"):
        (found,) = rehearse([dataclasses.replace(stopped, missing=missing)], at(0, 4))
        assert found.verdict is Verdict.QUIET


@pytest.mark.parametrize(
    ("statistic", "value"), [("Sum", 6), ("Average", 2), ("Maximum", 3), ("Minimum", 1), ("SampleCount", 3)]
)
def test_a_period_has_the_statistic_of_its_values(statistic, value):
    watched = {"m": Watched(namespace="raki", name="Scans", dimensions=ANY, statistic=statistic)}
    samples = [sample for number in (1.0, 2.0, 3.0) for sample in at(0, value=number)]
    (found,) = rehearse([alarm(watched=watched)], samples)
    assert [period.value for period in found.periods] == [value]


def test_a_metric_of_other_dimensions_is_another_metric():
    others = [dataclasses.replace(sample, dimensions=frozenset({("Outcome", "delivered")})) for sample in at(0, 1, 2)]
    (found,) = rehearse([alarm()], others)
    assert (found.n_samples, found.periods) == (0, ())


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("100 * a / (a + FILL(b, 0))", 100),
        ("a + b", None),
        ("a / c", None),
        ("IF(a >= 4, 1, 0)", 1),
        ("IF(a < 4, 1, 0)", 0),
        ("IF(b > 0, 1, 0)", None),
        ("FILL(b, a - 1)", 3),
    ],
)
def test_expressions_are_evaluated_as_metric_math_has_them(expression, value):
    assert evaluate(expression, {"a": 4.0, "b": None, "c": 0.0}) == value


@pytest.mark.parametrize("expression", ["SEARCH('x')", "d + 1", "a +", "a ** 2", "RATE(a)", "__import__('os')"])
def test_what_is_not_understood_is_refused(expression):
    with pytest.raises(NotUnderstood, match="expression"):
        evaluate(expression, {"a": 1.0})


def test_what_no_rehearsal_knows_is_named():
    watched = {"m": Watched(namespace="raki", name="Scans", dimensions=ANY, statistic="p99")}
    with pytest.raises(ValueError, match="p99 is not known here"):
        rehearse([alarm(watched=watched)], at(0))
    with pytest.raises(ValueError, match="GreaterThanUpperThreshold is not known here"):
        rehearse([alarm(comparison="GreaterThanUpperThreshold")], at(0))


def test_the_command_tells_of_each_alarm(run, alarms, work, ran):
    ran(WorkerLost("lost"), n_delivered=6)
    code, out, _ = run("alarms", "--work", work)
    assert code == 0
    rows = {line.split()[1]: line for line in out.splitlines() if re.match(r"│ \w", line)}
    assert rows.keys() == {alarm.name for alarm in alarms}
    for name, words in {
        "WorkerLost": ("Sum of Failures (WorkerLost)", "5 min", "1 at ", "> 0", "would have fired"),
        "OutageTooLong": ("Sum of Failures (OutageTooLong)", "stayed quiet"),
        "IngestDeadLetters": ("AWS/SQS", "not measured here"),
        "GatewaySilent": ("a query over AWS's metrics", "≤ 0, 6 of 6 periods", "not measured here"),
    }.items():
        assert [word for word in words if word not in rows[name]] == [], rows[name]
    assert "WorkerLost: A scan was given up because its worker was lost" in out
    assert (
        f"Alarms that would have fired: WorkerLost (of 11 that look at what is measured here; {len(alarms) - 11} "
        in out
    )


def test_a_program_gets_each_periods_value(run, work, ran):
    ran(*[NotAScan("no")] * 4, n_delivered=1)
    found = {one["alarm"]: one for one in json.loads(run("alarms", "--work", work, "--json")[1])}
    assert [(one["value"], one["breaks"]) for one in found["MostScansFail"]["periods"]] == [(80.0, True)]
    assert found["MostScansFail"]["verdict"] == "would have fired"
    assert found["RefreshWaits"]["periods"] == []


def test_a_folder_without_a_local_cloud_is_named(run, tmp_path):
    code, _, said = run("alarms", "--work", tmp_path)
    assert code == 2
    assert "no local cloud has run in" in " ".join(said.replace("│", " ").split())


def test_the_lines_that_are_read_are_those_that_programs_leave(work, ran):
    ran(WorkerLost("lost"))
    assert {(sample.name, sample.value) for sample in samples_in(work / "logs")} == {("Scans", 1), ("Failures", 1)}
    assert samples_in(work / "no such folder") == []
