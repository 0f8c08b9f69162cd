"""The alarms of a deployment. A description says what an alarm means and what to do; the mail carries it."""

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_fsx as fsx
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.monitoring.metrics import DAY, FIVE_MINUTES, HOUR, free_space, metric, of_gateway
from infra.storage.stack import StorageStack

ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
# Most of these metrics are written only when something happens: their silence is good news.
SILENCE_IS_GOOD = cloudwatch.TreatMissingData.NOT_BREACHING
SILENCE_IS_BAD = cloudwatch.TreatMissingData.BREACHING
MINUTE = Duration.minutes(1)
GIB = 1 << 30
NOT_SENT = (
    "A result was not sent to the picture archive: that refused an image for what it is, or took nothing for 7 days. "
    "`raki show` says what it answered. Mend the cause, then `raki retry` the scan, or redrive the dead-letter queue "
    "for all of them. The share has the results."
)
NOT_ANNOUNCED = (
    "EventBridge could not tell the {} of a result for a day: is its queue there, and may EventBridge write to it and "
    "use its key? The results are safe. reconcile announces within half an hour each that nobody took up, if it ended "
    "in the last 7 days; what lies here is not needed for that, and may be purged."
)
OWN_WORDS = {
    "Send": NOT_SENT,
    "SendEvents": NOT_ANNOUNCED.format("sender"),
    "ImportEvents": NOT_ANNOUNCED.format("import into HealthImaging"),
}
"""What dead letters mean, of queues whose are unlike the others'."""


RUNNABLE_S = 15 * 60
"""Beyond it a GPU job waits for something else than the start of an instance."""
FULL_S = 60 * 60
"""For so long jobs may wait for each other."""
WAITING_JOBS = {
    "Capacity": "For a quarter of an hour AWS has had no GPU instance of any allowed type in the zone, neither on "
    "spot nor on demand: wait, since scans are kept and one is asked for again and again, or deploy with another zone "
    "first (raki:zones).",
    "Environment": "GPU jobs can't start, since Batch's job queue or a compute environment is invalid or switched "
    "off, or Batch lacks a permission: the log of dispatch_reconstruction has AWS's reason; mend it, or enable the "
    "environment in the console of Batch.",
    "Limit": "For an hour scans have waited though as many GPU instances run as are allowed: nothing is broken, but "
    "raise raki:max_reconstruction_jobs or raki:surge if this is how it goes on.",
    "Misfit": "GPU jobs ask for more vCPUs, memory or GPUs than any allowed instance type or a compute environment's "
    "limit has: undo the change of the job's size or of the types, and deploy again.",
    "Quota": "The account's quota of vCPUs for G and VT instances is less than one GPU instance takes, so none will "
    "ever start: ask for more by the command that raki preflight prints.",
    "Unknown": "A GPU job has waited for a quarter of an hour and Batch doesn't say why: look in the console of EC2 "
    "Auto Scaling, activities, for a quota that is used up or a launch that failed, and whether an instance that runs "
    "has registered with ECS.",
}
"""A sentence for each cause: what it is and what to do."""


class Alarms(Construct):
    """Alarms that speak to one topic, when something breaks and when it is well again."""

    def __init__(self, scope: Construct, construct_id: str, *, topic: sns.ITopic) -> None:
        super().__init__(scope, construct_id)
        self._topic = topic
        self.all: list[cloudwatch.Alarm] = []

    def watch_queues(self, storage: StorageStack) -> None:
        """Messages that nobody could handle, and messages that wait too long."""
        for name, queue in storage.dead_letters.items():
            self._add(
                f"{name}DeadLetters",
                queue.metric_approximate_number_of_messages_visible(period=FIVE_MINUTES, statistic="Maximum"),
                threshold=0,
                says=OWN_WORDS.get(name)
                or f"A message of the {name.lower()} queue was given up: nobody could handle it. Read it and the "
                "logs around its time, mend the cause, then redrive the dead-letter queue. It is kept for 14 days.",
            )
        for name, queue, minutes, advice in (
            ("Ingest", storage.ingest_queue, 60, "Do decompression workers run, and do they end scans?"),
            ("Reconstruct", storage.reconstruct_queue, 120, "Do GPU jobs run, or do they wait for an instance?"),
            ("Refresh", storage.refresh_queue, 30, "Does the gateway answer? The results are safe in S3."),
            ("Send", storage.send_queue, 24 * 60, "Does the sender run, and does the picture archive answer?"),
            (
                "Import",
                storage.imports.queue if storage.imports else None,
                24 * 60,
                "Does the Lambda import_results run, and does HealthImaging start jobs?",
            ),
        ):
            if queue is None:
                continue
            self._add(
                f"{name}Waits",
                queue.metric_approximate_age_of_oldest_message(period=FIVE_MINUTES, statistic="Maximum"),
                threshold=minutes * 60,
                periods=2,
                says=f"A message has been in the {name.lower()} queue for more than {minutes} minutes. {advice} The "
                "dashboard shows queues, workers and jobs. Nothing is lost: what waits is kept for 7 days.",
            )

    def watch_sending(self) -> None:
        """A picture archive that doesn't take what it is sent. The share doesn't wait for it."""
        self._add(
            "ArchiveTakesNothing",
            metric("SendRetries", "Sum", period=HOUR),
            threshold=0,
            periods=2,
            says="For two hours results couldn't be sent to the picture archive. Is it up, does it know our AE title, "
            "and does the network reach it? `raki show` says what it answered. The share has the results; sending is "
            "tried for 7 days, at least once an hour.",
        )

    def watch_imports(self) -> None:
        """A data store that no job can be started for, and jobs that fail. The share doesn't wait for either."""
        self._add(
            "ImportsNotStarted",
            metric("ImportRetries", "Sum", period=HOUR),
            threshold=0,
            periods=2,
            says="For two hours no import into HealthImaging could be started. Is the data store there and active, and "
            "is it in this region? The log of the Lambda import_results has HealthImaging's answer. The share has the "
            "results; it is tried for 7 days, at least once an hour.",
        )
        self._add(
            "ImportFailed",
            metric("ImportFailures", "Sum"),
            threshold=0,
            says="A result was not imported into HealthImaging: its job failed or left images out, it is larger than a "
            "job may be, or nothing could be done for 7 days. `raki show` says which. Mend the cause, then "
            "`raki retry` the scan. The share has the results.",
        )

    def watch_compaction(self, hours: int) -> None:
        """A catalogue that falls behind its results. A week is the most that an alarm may look back: Amazon CloudWatch
        API Reference, PutMetricAlarm, Period."""
        self._add(
            "CompactionFailed",
            metric("CompactionFailures", "Sum"),
            threshold=0,
            says="The catalogue was not compacted: the log of RakiPipeline's Compaction has the failure class. Athena "
            "answers from what was there before, `raki catalogue` from all rows. The next one tries again; "
            "`raki catalogue compact` on the results bucket says more.",
        )
        self._add(
            "CompactionMissing",
            metric("Compactions", "Sum", period=HOUR),
            threshold=1,
            comparison=BELOW,
            periods=2 * hours + 1,
            missing=SILENCE_IS_BAD,
            says=f"The catalogue has not been compacted for {2 * hours} hours: its task wasn't started, or ended "
            "without a word, as for want of memory. ECS's stopped tasks and the log of RakiPipeline's Compaction say "
            "why. Athena answers from what was there before, `raki catalogue` from all rows.",
        )

    def watch_function(self, name: str, function: lambda_.IFunction, *, each_minute: bool) -> None:
        """A Lambda that fails or is refused again and again; one that runs each minute must not fall silent either."""
        # A message that failed comes again after minutes, so that a shorter period would never see three failures.
        period = MINUTE if each_minute else Duration.minutes(10)
        for failing, found, meaning in (
            ("Errors", function.metric_errors, "fails again and again. Its log names the cause"),
            (
                "Throttles",
                function.metric_throttles,
                "is refused. The account's limit of concurrent Lambdas is used",
            ),
        ):
            self._add(
                f"{name}{failing}",
                found(period=period, statistic="Sum"),
                threshold=0,
                periods=5,
                of_them=3,
                says=f"The Lambda {name} {meaning}. Scans wait until it runs again; none is lost.",
            )
        if each_minute:
            self._add(
                f"{name}Stopped",
                function.metric_invocations(period=FIVE_MINUTES, statistic="Sum"),
                threshold=1,
                comparison=BELOW,
                periods=3,
                missing=SILENCE_IS_BAD,
                says=f"The Lambda {name} should run each minute, and has not for a quarter of an hour: nobody starts "
                "workers or jobs. Is its EventBridge rule enabled?",
            )

    def watch_scans(self) -> None:
        """Scans that bring their workers down, and a site all of whose scans fail."""
        self._add(
            "WorkerLost",
            metric("Failures", "Sum", FailureClass="WorkerLost"),
            threshold=0,
            says="A scan was given up because its worker was lost on every attempt: it needs more memory or time than "
            "there is, or raki has an error. Look its log up under the scan id, then drop the file again.",
        )
        self._add(
            "OutageTooLong",
            metric("Failures", "Sum", FailureClass="OutageTooLong"),
            threshold=0,
            says="A scan was given up because AWS, a permission or the disk failed in each of hundreds of tries over "
            "many hours. Its log names the fault under the scan id; when that is mended, drop the file again.",
        )
        ended = {
            "failed": metric("Scans", "Sum", period=HOUR, Outcome="failed"),
            "delivered": metric("Scans", "Sum", period=HOUR, Outcome="delivered"),
        }
        self._add(
            "MostScansFail",
            cloudwatch.MathExpression(
                expression="IF(FILL(failed, 0) + FILL(delivered, 0) >= 5, "
                "100 * FILL(failed, 0) / (FILL(failed, 0) + FILL(delivered, 0)), 0)",
                label="Scans that failed, %",
                period=HOUR,
                using_metrics=ended,
            ),
            threshold=50,
            says="More than half of at least five scans that ended within an hour failed. A new protocol or new "
            "software of the scanner is a usual cause: the failure classes are on the dashboard, and each scan's "
            "folder has an error.html that says why.",
        )

    def watch_machines(self) -> None:
        """Scans that wait while no machine starts for them."""
        for cause, says in WAITING_JOBS.items():
            self._add(
                f"NoGpu{cause}",
                metric("RunnableSeconds", "Maximum", Cause=cause),
                threshold=FULL_S if cause == "Limit" else RUNNABLE_S,
                # Batch cancels such a job after an hour, and the next one's wait begins at nothing: still one alarm.
                periods=5,
                of_them=1,
                says=says,
            )
        waiting = {
            "waiting": metric("Waiting", "Minimum", Stage="decompressing"),
            "running": metric("RunningWorkers", "Maximum"),
        }
        self._add(
            "NoWorkerStarts",
            cloudwatch.MathExpression(
                expression="IF(waiting > 0, IF(running < 1, 1, 0), 0)",
                label="Scans wait and no worker runs",
                period=FIVE_MINUTES,
                using_metrics=waiting,
            ),
            threshold=0,
            periods=3,
            says="For a quarter of an hour scans have waited and no decompression worker runs: the events of the ECS "
            "service and its stopped tasks say why, as an image that can't be pulled or a quota of Fargate that is "
            "used up; mend that, and ECS starts them by itself.",
        )

    def watch_patching(self) -> None:
        """GPU instances that go on starting from an old image."""
        self._add(
            "ImageNotRenewed",
            metric("ImageAgeDays", "Maximum", period=DAY),
            threshold=21,
            says="For three weeks GPU instances have started from the same image of AWS's, without its security "
            "patches: the log of the Lambda renew_instances says what Batch refuses, or which compute environment is "
            "broken; mend that, and it is renewed in the next night.",
        )

    def watch_file_system(self, file_system: fsx.LustreFileSystem) -> None:
        """FSx that fills up."""
        self._add(
            "FileSystemFull",
            free_space(file_system),
            threshold=120 * GIB,
            comparison=BELOW,
            periods=3,
            missing=cloudwatch.TreatMissingData.MISSING,
            says="A storage target of FSx for Lustre has less than 120 GiB left, a tenth. When it is full, jobs can't "
            "read further scans. Release files (lfs hsm_release), or enlarge the file system: raki:fsx_gib.",
        )

    def watch_gateway(self, gateway_arn: str) -> None:
        """The share that scans are dropped on."""
        self._add(
            "ShareUnavailable",
            of_gateway("MAX(FileSharesUnavailable)", gateway_arn),
            threshold=0,
            periods=2,
            says="A share of the gateway is not available: scans can't be dropped, or results not be read. Look at the "
            "gateway in the console of Storage Gateway: its network, its role, its disks.",
        )
        self._add(
            "GatewayUnwell",
            of_gateway("SUM(HealthNotifications)", gateway_arn),
            threshold=0,
            says="The gateway reports trouble, a file that it can't upload for one. Its health log in CloudWatch Logs "
            "says which. Leave the files on the share until it is well.",
        )
        self._add(
            "GatewayLagsBehind",
            of_gateway("MAX(CachePercentDirty)", gateway_arn),
            threshold=80,
            periods=4,
            says="Four fifths of the gateway's cache are not uploaded yet. When it is full, the share takes no more "
            "scans. Is the line to AWS slow, or the cache too small?",
        )
        self._add(
            "GatewaySilent",
            of_gateway("MAX(MemUsedBytes)", gateway_arn),
            threshold=0,
            comparison=cloudwatch.ComparisonOperator.LESS_THAN_OR_EQUAL_TO_THRESHOLD,
            periods=6,
            missing=SILENCE_IS_BAD,
            says="The gateway has reported nothing for half an hour. Is its host running, and does it reach AWS? "
            "Scans that are on the share are uploaded when it is back.",
        )

    def _add(
        self,
        name: str,
        watched: cloudwatch.IMetric,
        *,
        says: str,
        threshold: float,
        comparison: cloudwatch.ComparisonOperator = ABOVE,
        periods: int = 1,
        of_them: int | None = None,
        missing: cloudwatch.TreatMissingData = SILENCE_IS_GOOD,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_description=says,
            comparison_operator=comparison,
            datapoints_to_alarm=of_them or periods,
            evaluation_periods=periods,
            metric=watched,
            threshold=threshold,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))
        alarm.add_ok_action(actions.SnsAction(self._topic))
        self.all.append(alarm)
