"""What AWS tells of itself as events, handed on to the alarms' topic in plain words."""

from collections.abc import Mapping
from typing import Any

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.pipeline.canary import GROUP
from infra.pipeline.stack import PipelineStack

BLOCKED: Mapping[str, tuple[str, str]] = {
    "NoCapacity": (
        "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY",
        "AWS has no GPU instance of the allowed types in the zone just now; wait, one is asked for again and again, or "
        "deploy with another zone first (raki:zones)",
    ),
    "TooLargeForEnvironments": (
        "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE",
        "the job asks for more vCPUs than any compute environment's limit allows; undo the change of the job's size or "
        "raise raki:max_reconstruction_jobs",
    ),
    "TooLargeForInstances": (
        "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT",
        "the job asks for more vCPUs, memory or GPUs than any allowed instance type has; undo the change of its size "
        "or of the types",
    ),
    "BatchLacksPermission": (
        "MISCONFIGURATION:SERVICE_ROLE_PERMISSIONS",
        "Batch's service-linked role may not start instances; look for a policy of the organisation that denies it",
    ),
    "UnsupportedInstances": (
        "MISCONFIGURATION:EC2_INSTANCE_CONFIGURATION_UNSUPPORTED",
        "the instance types aren't offered in the zone, or the launch template doesn't fit them; raki preflight says "
        "which zone has them",
    ),
    "EnvironmentsInvalid": (
        "ACTION_REQUIRED",
        "all compute environments are invalid; their status in the console of Batch says why, and they have to be "
        "mended or deployed anew",
    ),
    "CauseUnknown": (
        "UNDETERMINED",
        "Batch doesn't know why; look at EC2's quota of G instances, at the activities of EC2 Auto Scaling, and "
        "whether an instance that runs has registered with ECS",
    ),
}
"""How each reason begins that Batch gives for a blocked queue (AWS Batch User Guide, "Jobs stuck in a RUNNABLE
status"), and what it is and what to do."""
NOT_PULLED = "CannotPull"
"""How ECS's reason begins where an image can't be pulled: CannotPullContainerError, CannotPullImageManifestError and
others (Amazon ECS Developer Guide, "CannotPullContainer task errors")."""
NOT_INITIALISED = "ResourceInitializationError"
KNOWN_TASKS = [NOT_PULLED, NOT_INITIALISED]


class Notices(Construct):
    """A mail for a GPU that isn't to be had, a job or task that failed, a deployment that was rolled back."""

    def __init__(self, scope: Construct, construct_id: str, *, topic: sns.ITopic, pipeline: PipelineStack) -> None:
        super().__init__(scope, construct_id)
        self._topic = topic
        self._of_our_jobs = {"jobQueue": [pipeline.reconstruction.job_queue.job_queue_arn]}
        self._tell_of_blocked_jobs()
        self._tell_of_failed_jobs()
        self._tell_of_tasks(pipeline)
        self._tell_of_the_canary(pipeline)
        self._tell(
            "DeploymentFailed",
            events.EventPattern(
                source=["aws.ecs"],
                detail_type=["ECS Deployment State Change"],
                detail={"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
                resources=[pipeline.decompression.service.service_arn],
            ),
            "raki: new decompression workers did not start, and ECS goes back to the former ones. AWS says: "
            f"{events.EventField.from_path('$.detail.reason')}. The service's events and its stopped tasks say why.",
        )

    def _tell_of_blocked_jobs(self) -> None:
        """A mail for each reason, and one for those that Batch may have since."""
        job, reason = _field("jobId"), _field("statusReason")
        known = [beginning for beginning, _ in BLOCKED.values()]
        for name, (beginning, words) in BLOCKED.items():
            self._tell(
                name,
                self._blocked([{"prefix": beginning}]),
                f"raki: GPU job {job} waits and holds up those behind it, since {words}. Scans are kept in the queue. "
                f"AWS says: {reason}",
            )
        self._tell(
            "JobQueueBlocked",
            self._blocked([{"anything-but": {"prefix": known}}]),
            f"raki: GPU job {job} waits and holds up those behind it, for a reason that the AWS Batch User Guide "
            f"explains under 'Jobs stuck in a RUNNABLE status'. Scans are kept in the queue. AWS says: {reason}",
        )

    def _blocked(self, reasons: list[Any]) -> events.EventPattern:
        detail = {**self._of_our_jobs, "statusReason": reasons}
        return events.EventPattern(source=["aws.batch"], detail_type=["Batch Job Queue Blocked"], detail=detail)

    def _tell_of_failed_jobs(self) -> None:
        job = _field("jobId")
        failed = {**self._of_our_jobs, "status": ["FAILED"]}
        self._tell(
            "JobImageNotPulled",
            _change("aws.batch", "Batch Job", {**failed, "container": {"reason": [{"prefix": NOT_PULLED}]}}),
            f"raki: GPU job {job} didn't start, since its image can't be pulled; look whether it is still in the "
            "repository and whether the instances reach ECR (NAT gateway or endpoints), and deploy again where it is "
            f"gone. AWS says: {_field('container.reason')}",
        )
        others = [{"exists": False}, {"anything-but": {"prefix": NOT_PULLED}}]
        self._tell(
            "JobFailed",
            _change("aws.batch", "Batch Job", {**failed, "container": {"reason": others}}),
            f"raki: GPU job {job} failed. AWS says: {_field('statusReason')}. What it held goes back to the queue, and "
            "another job takes it up. If this comes again and again, look at the job's log in the console of Batch.",
        )

    def _tell_of_tasks(self, pipeline: PipelineStack) -> None:
        """Of decompression workers that never came up; ECS waits longer before each try."""
        reason = _field("stoppedReason")
        for name, reasons, words in (
            (
                "WorkerImageNotPulled",
                [{"prefix": NOT_PULLED}],
                "its image can't be pulled; look whether it is still in the repository and whether the network "
                "reaches ECR and S3 (NAT gateway or endpoints), and deploy again where it is gone",
            ),
            (
                "WorkerNotInitialised",
                [{"prefix": NOT_INITIALISED}],
                "Fargate couldn't reach ECR or the logs, or read a secret; look at the network's endpoints or NAT "
                "gateway and at the execution role",
            ),
            (
                "WorkerNotStarted",
                [{"anything-but": {"prefix": KNOWN_TASKS}}],
                "of the reason below; the ECS Developer Guide explains it under 'Stopped tasks error messages'",
            ),
        ):
            self._tell(
                name,
                _change("aws.ecs", "ECS Task", _never_started(pipeline) | {"stoppedReason": reasons}),
                f"raki: a decompression worker didn't start because {words}. Scans are kept in the queue. AWS says: "
                f"{reason}",
            )
        self._tell(
            "NoPlaceForWorker",
            events.EventPattern(
                source=["aws.ecs"],
                detail_type=["ECS Service Action"],
                detail={"eventName": ["SERVICE_TASK_PLACEMENT_FAILURE"]},
                resources=[pipeline.decompression.service.service_arn],
            ),
            f"raki: AWS has no place for a decompression worker ({_field('reason')}): ask for more of the quota of "
            "Fargate vCPUs where it is used up, else wait. Scans are kept in the queue.",
        )

    def _tell_of_the_canary(self, pipeline: PipelineStack) -> None:
        """Of a new image that fails its own check, or whose check never began."""
        task, log = _field("taskDefinitionArn"), "the log of RakiPipeline's task or job says what is wrong"
        ours = {"clusterArn": [pipeline.decompression.cluster.cluster_arn], "group": [GROUP], "lastStatus": ["STOPPED"]}
        for name, how, words in (
            (
                "CanaryFailed",
                {"containers": {"exitCode": [{"anything-but": [0]}]}},
                f"failed its own check: {log}; deploy the former commit until it is mended",
            ),
            (
                "CanaryNotStarted",
                {"stopCode": ["TaskFailedToStart"]},
                f"couldn't be checked, since its task didn't start ({_field('stoppedReason')}): a scan's wouldn't "
                "either; mend that, and deploy again",
            ),
        ):
            self._tell(name, _change("aws.ecs", "ECS Task", ours | how), f"raki: the image of {task} {words}.")

    def _tell(self, name: str, pattern: events.EventPattern, text: str) -> None:
        events.Rule(
            self,
            name,
            description=f"raki: {name} is told to the operator",
            event_pattern=pattern,
            # No role: EventBridge delivers to an encrypted topic by the topic's and the key's policies alone.
            targets=[targets.SnsTopic(self._topic, message=events.RuleTargetInput.from_text(text))],
        )


def _field(path: str) -> str:
    return events.EventField.from_path(f"$.detail.{path}")


def _change(source: str, what: str, detail: dict[str, Any]) -> events.EventPattern:
    return events.EventPattern(source=[source], detail_type=[f"{what} State Change"], detail=detail)


def _never_started(pipeline: PipelineStack) -> dict[str, Any]:
    """Amazon ECS Developer Guide, "Amazon ECS task state change events"; Amazon ECS API Reference, Task, stopCode."""
    decompression = pipeline.decompression
    return {
        "clusterArn": [decompression.cluster.cluster_arn],
        "group": [f"service:{decompression.service.service_name}"],
        "lastStatus": ["STOPPED"],
        "stopCode": ["TaskFailedToStart"],
    }
