"""The dashboard and the alarms speak of metrics that somebody writes, and tell the operator what to do."""

import inspect
import json
import re

import aws_cdk as cdk
import pytest

from infra.costs.formulas import Task, fargate
from infra.costs.price_list import read_prices
from infra.deployment import Deployment
from infra.local.alarms.metric_math import evaluate
from infra.local.deploy.synth import REPOSITORY
from infra.monitoring import metrics
from infra.monitoring.stack import MonitoringStack
from infra.network.stack import NetworkStack
from infra.pipeline.stack import PipelineStack
from infra.storage.stack import StorageStack
from raki import errors
from raki.service.blocked import LONG_S, Cause
from raki.service.ledger import State
from raki.service.metrics import METRICS, NAMESPACE
from raki.service.renewal import EVERY_DAYS

EMAIL = "operator@example.org"


@pytest.fixture(scope="session")
def clinic(all_reviewed):
    """With a gateway on site, an address for mails and a budget."""
    return Template(all_reviewed["clinic"].templates)


@pytest.fixture(scope="session")
def research(all_reviewed):
    """With FSx."""
    return Template(all_reviewed["research"].templates)


@pytest.fixture(scope="session")
def bare():
    """With buckets alone, a budget, and nobody to tell."""
    context = json.loads((REPOSITORY / "cdk.json").read_text())["context"]
    deployment = Deployment.from_context({**context, "raki:monthly_budget_usd": 500})
    app = cdk.App(context=context)
    storage = StorageStack(app, "RakiStorage", deployment=deployment)
    network = NetworkStack(app, "RakiNetwork", storage=storage, deployment=deployment)
    pipeline = PipelineStack(
        app, "RakiPipeline", network=network, storage=storage, gateway_arn="", deployment=deployment
    )
    MonitoringStack(app, "RakiMonitoring", storage=storage, pipeline=pipeline, gateway_arn="", deployment=deployment)
    return Template({stack.stack_name: stack.template for stack in app.synth().stacks})


class Template:
    """The monitoring stack of one deployment, and the resources of the storage stack that it watches."""

    def __init__(self, templates):
        self.resources = templates["RakiMonitoring"]["Resources"]
        self.storage = templates["RakiStorage"]["Resources"]

    def of(self, kind):
        return {name: found["Properties"] for name, found in self.resources.items() if found["Type"] == kind}

    @property
    def alarms(self):
        named = {
            re.sub(r"^Alarms|[0-9A-F]{8}$", "", name): one for name, one in self.of("AWS::CloudWatch::Alarm").items()
        }
        assert len(named) == len(self.of("AWS::CloudWatch::Alarm"))
        return named

    @property
    def widgets(self):
        (dashboard,) = self.of("AWS::CloudWatch::Dashboard").values()
        return json.loads(flat(dashboard["DashboardBody"]))["widgets"]

    @property
    def plotted(self):
        """Each metric of the dashboard as namespace, name, dimensions, and the options behind them."""
        for widget in self.widgets:
            previous = []
            for row in widget["properties"].get("metrics", []):
                words = [word for word in row if isinstance(word, str)]
                if not words:
                    continue  # an expression
                previous = [previous[i] if word == "." else word for i, word in enumerate(words)]
                pairs = dict(zip(previous[2::2], previous[3::2], strict=True))
                yield previous[0], previous[1], pairs, row[-1] if isinstance(row[-1], dict) else {}

    @property
    def expressions(self):
        rows = [row for widget in self.widgets for row in widget["properties"].get("metrics", [])]
        return {row[0]["label"]: row[0]["expression"] for row in rows if isinstance(row[0], dict)}


def flat(value):
    """A joined text with a word in the place of each reference."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    return "".join(map(flat, argument[1])) if function == "Fn::Join" else re.sub(r"\W", "", str(argument))


def metrics_of(alarm):
    """The metrics that an alarm watches, whether alone or in an expression."""
    if "MetricName" in alarm:
        return [alarm]
    return [one["MetricStat"]["Metric"] for one in alarm["Metrics"] if "MetricStat" in one]


def test_the_metrics_are_those_that_the_stages_write():
    written = {name: (str(metric.unit), metric.dimensions) for name, metric in METRICS.items()}
    assert dict(metrics.METRICS) == written
    assert metrics.NAMESPACE == NAMESPACE
    assert tuple(State) == metrics.STATES
    assert set(metrics.STAGES) == {State.DECOMPRESSING, State.RECONSTRUCTING}
    permanent = {
        name
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.PermanentError) and one is not errors.PermanentError and one.outcome == "failed"
    }
    assert set(metrics.FAILURE_CLASSES) == permanent


@pytest.mark.parametrize(
    ("name", "dimensions", "message"),
    [
        ("Scanz", {}, "no stage writes"),
        ("Scans", {}, "Outcome"),
        ("RawBytes", {"Stage": "decompressing"}, "RawBytes"),
        ("Entered", {"State": "lost"}, "no lost"),
    ],
)
def test_a_metric_that_nobody_writes_is_refused(name, dimensions, message):
    with pytest.raises(ValueError, match=message):
        metrics.metric(name, "Sum", **dimensions)


def test_each_of_our_metrics_on_the_dashboard_is_written_by_a_stage(clinic):
    ours = [(name, dimensions) for namespace, name, dimensions, _ in clinic.plotted if namespace == NAMESPACE]
    assert len(ours) > 30
    for name, dimensions in ours:
        assert tuple(dimensions) == METRICS[name].dimensions
        for key, value in dimensions.items():
            assert value in metrics.VALUES[key]


def test_the_dashboard_shows_what_the_stages_write_but_for_what_sqs_counts_itself(clinic):
    shown = {name for namespace, name, _, _ in clinic.plotted if namespace == NAMESPACE}
    of_compaction = {"CompactionFailures", "CompactionSeconds", "Compactions"}
    assert set(METRICS) - shown == {"InFlight", "RawBytes", "Waiting"} | of_compaction


def test_the_dashboard_shows_compactions_where_there_are_some(all_reviewed):
    shown = {name for _, name, _, _ in Template(all_reviewed["research"].templates).plotted}
    assert {"CompactionFailures", "CompactionSeconds", "Compactions"} <= shown


def test_the_dashboard_has_depth_and_age_of_each_queue_and_its_dead_letters(clinic):
    queues = [name for name, found in clinic.storage.items() if found["Type"] == "AWS::SQS::Queue"]
    found = {(name, key) for _, name, dimensions, _ in clinic.plotted for key in dimensions.values()}
    for queue in queues:
        shown = {name for name, key in found if queue in key}
        if "DeadLetters" in queue:
            assert shown == {"ApproximateNumberOfMessagesVisible"}
        else:
            assert "ApproximateAgeOfOldestMessage" in shown
            assert "ApproximateNumberOfMessagesNotVisible" in shown


def test_waiting_and_working_times_are_shown_as_median_and_tail(clinic):
    for name in ("WaitingSeconds", "StageSeconds"):
        found = {
            (dimensions["Stage"], options["stat"]) for _, one, dimensions, options in clinic.plotted if one == name
        }
        assert found == {(stage, p) for stage in metrics.STAGES for p in ("p50", "p95")}


def test_a_scan_costs_what_the_price_table_says(clinic):
    prices = read_prices().numbers
    of_gpus = {"busy_reconstructing": 500, "idle_reconstructing": 100}
    of_workers = {"busy_decompressing": 150, "idle_decompressing": 30}
    worker = fargate(Task(vcpus=2, memory_gb=8, disk_gb=200, architecture="arm64"), 60, prices)
    gpu = 600 / 3600 * prices.g5_xlarge_hour
    for label, factor in (("GPU on demand", 1), ("GPU on spot", prices.spot_factor)):
        (expression,) = [found for name, found in clinic.expressions.items() if name.startswith(label)]
        cost = eval(expression, {"FILL": lambda value, _: value, "scans": 3, **of_gpus, **of_workers})
        assert cost == pytest.approx((gpu * factor + 180 / 3600 * worker) / 3, rel=1e-4)


def test_the_share_of_busy_gpus_is_a_percentage(clinic):
    (expression,) = [found for found in clinic.expressions.values() if "busy +" in found]
    assert eval(expression, {"FILL": lambda value, _: value, "busy": 30, "idle": 10}) == 75


def test_the_dashboard_says_what_to_do_first(clinic):
    (text,) = [widget["properties"]["markdown"] for widget in clinic.widgets if widget["type"] == "text"]
    for query in clinic.of("AWS::Logs::QueryDefinition").values():
        assert query["Name"] in text


def test_every_alarm_tells_the_operator_when_it_begins_and_when_it_ends(clinic, bare):
    for template in (clinic, bare):
        (topic,) = template.of("AWS::SNS::Topic")
        for name, alarm in template.alarms.items():
            assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": topic}], name
            assert 40 < len(alarm["AlarmDescription"]) < 1024, name
        for rule in template.of("AWS::Events::Rule").values():
            assert [target["Arn"] for target in rule["Targets"]] == [{"Ref": topic}]


def test_every_alarm_on_our_metrics_watches_one_that_is_written(clinic):
    watched = [
        metric for alarm in clinic.alarms.values() for metric in metrics_of(alarm) if metric["Namespace"] == "raki"
    ]
    assert {metric["MetricName"] for metric in watched} == {
        *("Failures", "Scans", "SendRetries"),
        *("ImageAgeDays", "RunnableSeconds", "RunningWorkers", "Waiting"),
        *("ImportFailures", "ImportRetries"),
    }
    for metric in watched:
        assert tuple(one["Name"] for one in metric.get("Dimensions", ())) == METRICS[metric["MetricName"]].dimensions


def test_one_dead_letter_is_enough_for_an_alarm(clinic):
    dead_letters = {name for name, found in clinic.storage.items()
                    if found["Type"] == "AWS::SQS::Queue" and "RedrivePolicy" not in found["Properties"]}  # fmt: skip
    assert len(dead_letters) == 7
    alarms = [alarm for name, alarm in clinic.alarms.items() if name.endswith("DeadLetters")]
    watched = [json.dumps(alarm["Dimensions"]) for alarm in alarms]
    for queue in dead_letters:
        assert sum(queue in name for name in watched) == 1
    for alarm in alarms:
        assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (0, "GreaterThanThreshold")
        assert alarm["MetricName"] == "ApproximateNumberOfMessagesVisible"


def test_silence_is_bad_news_only_of_what_ought_to_speak_all_the_time(clinic):
    bad = {name for name, alarm in clinic.alarms.items() if alarm["TreatMissingData"] == "breaching"}
    assert bad == {"GatewaySilent", "dispatchreconstructionStopped", "scaledecompressionStopped"}
    assert {alarm["TreatMissingData"] for alarm in clinic.alarms.values()} == {"breaching", "notBreaching"}


def test_each_lambda_is_watched(clinic):
    for name in ("scaledecompression", "dispatchreconstruction", "refreshgateway", "importresults"):
        for kind in ("Errors", "Throttles"):
            alarm = clinic.alarms[f"{name}{kind}"]
            assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (3, 5)
            assert alarm["MetricName"] == kind


def test_each_cause_for_which_no_gpu_starts_has_an_alarm_of_one_sentence(clinic):
    assert tuple(sorted(Cause)) == metrics.CAUSES
    for cause in metrics.CAUSES:
        alarm = clinic.alarms[f"NoGpu{cause}"]
        assert alarm["Dimensions"] == [{"Name": "Cause", "Value": cause}]
        # Where places are only full, an hour; else as soon as it isn't the start of an instance any more.
        assert alarm["Threshold"] == (3600 if cause == "Limit" else LONG_S)
        assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (1, 5)
        assert re.fullmatch(r"[^.]+(\.[^. ][^.]*)*\.", alarm["AlarmDescription"]), "one sentence"


def test_scans_that_wait_while_no_worker_runs_are_an_alarm(clinic):
    alarm = clinic.alarms["NoWorkerStarts"]
    (expression,) = [one["Expression"] for one in alarm["Metrics"] if "Expression" in one]
    for waiting, running, fires in ((0, 0, 0), (3, 0, 1), (3, 1, 0), (0, 2, 0)):
        assert evaluate(expression, {"waiting": waiting, "running": running}) == fires
    statistics = {one["Id"]: one["MetricStat"]["Stat"] for one in alarm["Metrics"] if "MetricStat" in one}
    # All of a period: a scan that was there for a moment, or a worker that was, is no reason.
    assert statistics == {"waiting": "Minimum", "running": "Maximum"}
    assert (alarm["EvaluationPeriods"], alarm["DatapointsToAlarm"], alarm["Threshold"]) == (3, 3, 0)


def test_an_image_that_is_not_renewed_is_an_alarm_before_a_month_is_over(clinic):
    alarm = clinic.alarms["ImageNotRenewed"]
    assert (alarm["MetricName"], alarm["Threshold"], alarm["Period"]) == ("ImageAgeDays", 3 * EVERY_DAYS, 86400)


def test_what_is_not_there_is_not_watched(clinic, research, bare):
    of_archive = {
        *("ArchiveTakesNothing", "SendDeadLetters", "SendEventsDeadLetters", "SendWaits"),
        *("ImportDeadLetters", "ImportEventsDeadLetters", "ImportFailed", "ImportWaits", "ImportsNotStarted"),
        *("importresultsErrors", "importresultsThrottles"),
    }
    assert of_archive <= set(clinic.alarms) - set(research.alarms)
    assert "SendSeconds" not in {name for _, name, _, _ in research.plotted}
    of_gateway = set(clinic.alarms) - set(bare.alarms) - of_archive
    assert of_gateway == {"GatewayLagsBehind", "GatewaySilent", "GatewayUnwell", "ShareUnavailable"}
    for name in of_gateway:
        (query,) = [one["Expression"] for one in clinic.alarms[name]["Metrics"]]
        assert "'sgw-12345678'" in query
    assert "FileSystemFull" not in clinic.alarms
    assert "FreeDataStorageCapacity" not in {name for _, name, _, _ in clinic.plotted}
    assert research.alarms["FileSystemFull"]["Threshold"] == 120 * 2**30
    assert "FreeDataStorageCapacity" in {name for _, name, _, _ in research.plotted}


def test_the_topic_is_encrypted_and_takes_messages_from_aws_alone(clinic):
    (topic,) = clinic.of("AWS::SNS::Topic").values()
    assert "OperationsKey" in topic["KmsMasterKeyId"]["Fn::ImportValue"]
    (policy,) = clinic.of("AWS::SNS::TopicPolicy").values()
    statements = policy["PolicyDocument"]["Statement"]
    (denied,) = [one for one in statements if one["Effect"] == "Deny"]
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    allowed = {one["Principal"]["Service"]: one for one in statements if one["Effect"] == "Allow"}
    assert set(allowed) == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    assert "aws:SourceAccount" in allowed["cloudwatch.amazonaws.com"]["Condition"]["StringEquals"]
    # EventBridge sends no context by which a condition on a topic could be met: with one, no mail would ever come.
    assert "Condition" not in allowed["events.amazonaws.com"]
    assert not any(
        "RoleArn" in target for rule in clinic.of("AWS::Events::Rule").values() for target in rule["Targets"]
    )


def test_mails_go_to_the_address_that_is_set_and_nothing_breaks_without_one(clinic, bare):
    assert [one["Endpoint"] for one in clinic.of("AWS::SNS::Subscription").values()] == [EMAIL]
    assert not bare.of("AWS::SNS::Subscription")
    (budget,) = clinic.of("AWS::Budgets::Budget").values()
    mails = {
        (mail["Notification"]["NotificationType"], mail["Notification"]["Threshold"]): mail["Subscribers"]
        for mail in budget["NotificationsWithSubscribers"]
    }
    to_operator = [{"Address": EMAIL, "SubscriptionType": "EMAIL"}]
    assert mails == {("ACTUAL", 80): to_operator, ("FORECASTED", 100): to_operator}
    (budget,) = bare.of("AWS::Budgets::Budget").values()
    assert "NotificationsWithSubscribers" not in budget


def test_the_budget_counts_this_project_alone(clinic):
    (budget,) = clinic.of("AWS::Budgets::Budget").values()
    assert budget["Budget"]["CostFilters"] == {"TagKeyValue": ["user:project$raki"]}
    assert budget["Budget"]["BudgetLimit"] == {"Amount": 500, "Unit": "USD"}


def test_the_saved_queries_reach_the_logs_of_every_stage(clinic):
    for query in clinic.of("AWS::Logs::QueryDefinition").values():
        groups = json.dumps(query["LogGroupNames"])
        for stage in (
            "DecompressionScale",
            "DecompressionLogs",
            "ReconstructionDispatch",
            "ReconstructionLogs",
            "Refresh",
        ):
            assert stage in groups
        assert ("{{scan_id}}" in query["QueryString"]) == (query.get("Parameters") == [{"Name": "scan_id"}])
