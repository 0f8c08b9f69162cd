"""The compaction that the catalogue's deployment schedules: when it runs, as what, and who notices where it doesn't."""

import json

import aws_cdk as cdk
import pytest

from infra.deployment import Deployment, SettingsError
from infra.local.deploy.synth import REPOSITORY
from infra.pipeline.compaction import LONGEST, limit_s
from infra.service import build
from raki.service.settings import CompactSettings
from tests.infra.test_templates import variables

RATES = (1, 2, 24, 72)


@pytest.fixture(scope="module")
def templates(all_reviewed):
    return all_reviewed["research"].templates


def of(template, kind, part=""):
    return {name: one["Properties"] for name, one in template["Resources"].items()
            if one["Type"] == kind and part in name}  # fmt: skip


def synthesised(settings):
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    app = cdk.App(context=context)
    build(app, Deployment.from_context({**context, **settings}))
    return app.synth().get_stack_by_name("RakiPipeline").template


def test_it_runs_once_a_day_and_after_a_deployment(templates):
    rules = of(templates["RakiPipeline"], "AWS::Events::Rule", "Compaction")
    (daily,) = [rule for rule in rules.values() if "ScheduleExpression" in rule]
    (deployed,) = [rule for rule in rules.values() if "EventPattern" in rule]
    assert daily["ScheduleExpression"] == "rate(1 day)"
    assert daily["State"] == deployed["State"] == "ENABLED"
    assert deployed["EventPattern"]["detail"]["stack-id"] == [{"Ref": "AWS::StackId"}]
    for rule in rules.values():
        (target,) = rule["Targets"]
        assert target["EcsParameters"]["TaskCount"] == 1
        assert "CompactionTask" in json.dumps(target["EcsParameters"]["TaskDefinitionArn"])
        network = target["EcsParameters"]["NetworkConfiguration"]["AwsVpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"
        assert target["RetryPolicy"]["MaximumEventAgeInSeconds"] == 3600


def test_its_place_in_the_network_reaches_s3_the_registry_and_the_logs(templates):
    """Where there is no way to the internet: interface endpoints let the workers' group in, S3's lets all in."""
    (rule, *_) = of(templates["RakiPipeline"], "AWS::Events::Rule", "Compaction").values()
    (group,) = rule["Targets"][0]["EcsParameters"]["NetworkConfiguration"]["AwsVpcConfiguration"]["SecurityGroups"]
    name = group["Fn::ImportValue"].partition("FnGetAtt")[2].removesuffix("GroupId")[:7]
    assert name == "Workers"
    network = templates["RakiNetwork"]
    admitted = [rule["SourceSecurityGroupId"]["Fn::GetAtt"][0]
                for rule in of(network, "AWS::EC2::SecurityGroupIngress", "Endpoints").values()]  # fmt: skip
    assert any(one.startswith(name) for one in admitted)
    services = json.dumps([one["ServiceName"] for one in of(network, "AWS::EC2::VPCEndpoint").values()])
    assert all(f".{service}" in services for service in ("s3", "ecr.api", "ecr.dkr", "logs"))


def test_the_task_gets_what_its_program_reads_and_keeps_nothing(templates):
    ((_, task),) = of(templates["RakiPipeline"], "AWS::ECS::TaskDefinition", "Compaction").items()
    (container,) = task["ContainerDefinitions"]
    told = {one["Name"]: one["Value"] for one in container["Environment"]}
    assert set(told) == variables(CompactSettings)
    assert told["LIMIT_S"] == str(limit_s(24))
    group = container["LogConfiguration"]["Options"]["awslogs-group"]["Ref"]
    kept = of(templates["RakiPipeline"], "AWS::Logs::LogGroup")[group]
    assert kept["RetentionInDays"] == 90
    assert "OperationsKey" in json.dumps(kept["KmsKeyId"])


@pytest.mark.parametrize("hours", RATES)
def test_one_has_ended_when_the_next_one_starts(hours):
    assert 0 < limit_s(hours) <= LONGEST.to_seconds()
    assert limit_s(hours) + 60 < hours * 3600, "with what the program is given to end by itself"


def alarms(templates):
    return {one["AlarmDescription"].partition(":")[0]: one
            for one in of(templates["RakiMonitoring"], "AWS::CloudWatch::Alarm", "Compaction").values()}  # fmt: skip


def test_one_that_failed_and_one_that_never_came_are_told(templates):
    found = {one["MetricName"]: one for one in alarms(templates).values()}
    failed, missing = found["CompactionFailures"], found["Compactions"]
    assert (failed["Threshold"], failed["ComparisonOperator"]) == (0, "GreaterThanThreshold")
    assert (missing["Threshold"], missing["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert missing["TreatMissingData"] == "breaching"
    looks_back_s = missing["Period"] * missing["EvaluationPeriods"]
    assert missing["DatapointsToAlarm"] == missing["EvaluationPeriods"], "a single one in all that time is enough"
    assert 2 * 24 * 3600 <= looks_back_s <= 604_800
    assert all(one["AlarmActions"] for one in found.values())


def test_the_longest_interval_has_an_alarm_too():
    """Amazon CloudWatch API Reference, PutMetricAlarm, Period: seven days at most are looked back on."""
    assert (2 * max(RATES) + 1) * 3600 <= 604_800
    with pytest.raises(SettingsError, match="raki:catalogue_compaction_h"):
        Deployment.from_context({"raki:catalogue_compaction_h": max(RATES) + 1})


def test_it_can_run_each_hour_or_not_at_all():
    hourly = of(synthesised({"raki:catalogue": "true", "raki:catalogue_compaction_h": "1"}), "AWS::Events::Rule")
    assert "rate(1 hour)" in {rule.get("ScheduleExpression") for rule in hourly.values()}
    off = synthesised({"raki:catalogue": "true", "raki:catalogue_compaction_h": "0"})
    assert not [name for name in off["Resources"] if name.startswith("Compaction")]


def test_without_a_catalogue_there_is_none(all_reviewed):
    for profile in ("minimal", "clinic"):
        for template in all_reviewed[profile].templates.values():
            assert not [name for name in template["Resources"] if "Compaction" in name]
