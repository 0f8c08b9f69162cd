"""The dashboard: one page, from what came in to what it cost, and what to do first."""

from collections.abc import Mapping, Sequence

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_fsx as fsx
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.deployment import Deployment
from infra.monitoring.metrics import (
    CAUSES,
    DAY,
    FAILURE_CLASSES,
    HOUR,
    OUTCOMES,
    STAGES,
    STATES,
    cost_per_scan,
    free_space,
    gpu_busy_share,
    metric,
)
from infra.monitoring.queries import FAILURES, WHERE_IS_A_SCAN, LogQuery
from infra.storage.stack import StorageStack

WIDTH = 24
HEIGHT = 6

FIRST_AID = f"""
# raki
**Something is wrong?** Nothing that was dropped is lost: a scan stays in its queue, its file in the raw bucket.
1. Which alarm is red, on the right? Its description says what it means and what to do.
2. *One scan is missing:* [Logs Insights](#logsV2:logs-insights), saved query **{WHERE_IS_A_SCAN.name}**, with its id.
   No line at all: the file never came; look at the share and the gateway.
3. *Scans fail:* saved query **{FAILURES.name}**; each scan's folder has an `error.html`. Mend the cause, drop it anew.
4. *Scans wait:* queues without workers or jobs: the Lambdas' logs, then ECS's events and Batch's jobs in RUNNABLE.
5. *Dead letters:* read them, mend the cause, then *Start DLQ redrive* in the console of SQS.
"""


class Dashboard(Construct):
    """All of a deployment on one page."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        storage: StorageStack,
        deployment: Deployment,
        alarms: Sequence[cloudwatch.IAlarm],
        log_groups: Sequence[logs.ILogGroup],
        file_system: fsx.LustreFileSystem | None,
    ) -> None:
        super().__init__(scope, construct_id)
        dashboard = cloudwatch.Dashboard(self, "Dashboard", default_interval=Duration.days(1))
        self.name = dashboard.dashboard_name
        queues = {
            "ingest": storage.ingest_queue,
            "reconstruct": storage.reconstruct_queue,
            "refresh": storage.refresh_queue,
            **({"send": storage.send_queue} if storage.send_queue else {}),
            **({"import": storage.imports.queue} if storage.imports else {}),
        }
        dashboard.add_widgets(
            cloudwatch.TextWidget(markdown=FIRST_AID, width=WIDTH // 2, height=HEIGHT),
            cloudwatch.AlarmStatusWidget(alarms=alarms, title="Alarms", width=WIDTH // 2, height=HEIGHT),
        )
        dashboard.add_widgets(_entered(), _outcomes(), _failures())
        dashboard.add_widgets(_depth(queues), _age(queues), _dead_letters(storage.dead_letters))
        dashboard.add_widgets(
            _seconds("WaitingSeconds", "Waiting time"), _seconds("StageSeconds", "Work"), _from_drop_to_image()
        )
        dashboard.add_widgets(
            _running(),
            _graph("GPUs at work", [gpu_busy_share()], unit="%", most=100),
            _graph("Computing a scan, for what AWS lists", cost_per_scan(deployment), unit="USD"),
        )
        dashboard.add_widgets(_runnable(), _image_age())
        if storage.send_queue:
            dashboard.add_widgets(_sent(), _from_image_to_archive())
        if storage.imports:
            dashboard.add_widgets(_imported())
        if deployment.compacts:
            dashboard.add_widgets(_compactions(), _compaction_seconds())
        if file_system:
            dashboard.add_widgets(_graph("Free space of FSx, fullest target", [free_space(file_system)], unit="bytes"))
        dashboard.add_widgets(_last(FAILURES, log_groups))


def _graph(
    title: str, metrics: Sequence[cloudwatch.IMetric], *, unit: str, stacked: bool = False, most: float | None = None
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        height=HEIGHT,
        left=list(metrics),
        left_y_axis=cloudwatch.YAxisProps(label=unit, min=0, max=most, show_units=False),
        stacked=stacked,
        title=title,
        width=WIDTH // 3,
    )


def _entered() -> cloudwatch.GraphWidget:
    found = [metric("Entered", "Sum", label=state, State=state) for state in STATES]
    return _graph("Scans that entered a state", found, unit="scans")


def _outcomes() -> cloudwatch.GraphWidget:
    found = [metric("Scans", "Sum", label=outcome, period=HOUR, Outcome=outcome) for outcome in OUTCOMES]
    return _graph("Scans that ended, an hour", found, unit="scans", stacked=True)


def _failures() -> cloudwatch.GraphWidget:
    failed = [metric("Failures", "Sum", label=name, period=HOUR, FailureClass=name) for name in FAILURE_CLASSES]
    retried = [metric("Retries", "Sum", label=f"tried again, {stage}", period=HOUR, Stage=stage) for stage in STAGES]
    remedied = [metric("Remedies", "Sum", label="stood still", period=HOUR)]
    title = "Failures, retries and scans that stood still, an hour"
    return _graph(title, [*failed, *retried, *remedied], unit="scans", stacked=True)


def _depth(queues: Mapping[str, sqs.Queue]) -> cloudwatch.GraphWidget:
    found = []
    for name, queue in queues.items():
        found.append(queue.metric_approximate_number_of_messages_visible(label=f"{name}, waiting", statistic="Maximum"))
        found.append(
            queue.metric_approximate_number_of_messages_not_visible(label=f"{name}, in hand", statistic="Maximum")
        )
    return _graph("Messages in the queues", found, unit="messages")


def _age(queues: Mapping[str, sqs.Queue]) -> cloudwatch.GraphWidget:
    found = [
        queue.metric_approximate_age_of_oldest_message(label=name, statistic="Maximum")
        for name, queue in queues.items()
    ]
    return _graph("Age of the oldest message", found, unit="s")


def _dead_letters(queues: Mapping[str, sqs.Queue]) -> cloudwatch.GraphWidget:
    found = [
        queue.metric_approximate_number_of_messages_visible(label=name, statistic="Maximum")
        for name, queue in queues.items()
    ]
    return _graph("Dead letters", found, unit="messages")


def _seconds(name: str, title: str) -> cloudwatch.GraphWidget:
    found = [
        metric(name, statistic, label=f"{stage}, {statistic}", period=HOUR, Stage=stage)
        for stage in STAGES
        for statistic in ("p50", "p95")
    ]
    return _graph(f"{title} of a scan by stage", found, unit="s")


def _from_drop_to_image() -> cloudwatch.GraphWidget:
    found = [metric("ScanSeconds", statistic, label=statistic, period=HOUR) for statistic in ("p50", "p95")]
    return _graph("From the drop to the image on the share", found, unit="s")


def _sent() -> cloudwatch.GraphWidget:
    found = [
        metric("Sent", "Sum", label="sent", period=HOUR),
        metric("SendRetries", "Sum", label="tried in vain", period=HOUR),
        metric("SendFailures", "Sum", label="given up", period=HOUR),
    ]
    return _graph("Results for the picture archive, an hour", found, unit="results")


def _imported() -> cloudwatch.GraphWidget:
    found = [
        metric("Imported", "Sum", label="imported", period=HOUR),
        metric("ImportRetries", "Sum", label="tried in vain", period=HOUR),
        metric("ImportFailures", "Sum", label="failed", period=HOUR),
    ]
    return _graph("Results for HealthImaging, an hour", found, unit="results")


def _compactions() -> cloudwatch.GraphWidget:
    found = [
        metric("Compactions", "Sum", label="done", period=HOUR),
        metric("CompactionFailures", "Sum", label="failed", period=HOUR),
    ]
    return _graph("Compactions of the catalogue, an hour", found, unit="compactions")


def _compaction_seconds() -> cloudwatch.GraphWidget:
    found = [metric("CompactionSeconds", "Maximum", label="the longest", period=HOUR)]
    return _graph("Time of a compaction", found, unit="s")


def _from_image_to_archive() -> cloudwatch.GraphWidget:
    found = [metric("SendSeconds", statistic, label=statistic, period=HOUR) for statistic in ("p50", "p95")]
    return _graph("From the image to the picture archive", found, unit="s")


def _running() -> cloudwatch.GraphWidget:
    found = [
        metric("RunningWorkers", "Maximum", label="decompression workers"),
        metric("DesiredWorkers", "Maximum", label="decompression workers, wanted"),
        metric("BacklogPerTask", "Maximum", label="scans waiting a worker"),
        metric("UnfinishedJobs", "Maximum", label="GPU jobs, waiting or running"),
        metric("SubmittedJobs", "Sum", label="GPU jobs submitted"),
    ]
    return _graph("Workers and jobs", found, unit="")


def _runnable() -> cloudwatch.GraphWidget:
    found = [metric("RunnableSeconds", "Maximum", label=cause, Cause=cause) for cause in CAUSES]
    return _graph("GPU jobs that wait too long for an instance, by cause", found, unit="s")


def _image_age() -> cloudwatch.GraphWidget:
    found = [metric("ImageAgeDays", "Maximum", label="GPU instances", period=DAY)]
    return _graph("Since the newest image was taken", found, unit="days")


def _last(query: LogQuery, log_groups: Sequence[logs.ILogGroup]) -> cloudwatch.LogQueryWidget:
    return cloudwatch.LogQueryWidget(
        height=HEIGHT,
        log_group_names=[group.log_group_name for group in log_groups],
        query_lines=list(query.lines),
        title="Last failures",
        view=cloudwatch.LogQueryVisualizationType.TABLE,
        width=WIDTH,
    )
