"""What AWS tells of itself as events, handed on to the alarms' topic in plain words."""

from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_sns as sns
from constructs import Construct

from infra.pipeline.stack import PipelineStack


class Notices(Construct):
    """A mail for a GPU that isn't to be had, a job that failed, a deployment that was rolled back."""

    def __init__(self, scope: Construct, construct_id: str, *, topic: sns.ITopic, pipeline: PipelineStack) -> None:
        super().__init__(scope, construct_id)
        self._topic = topic
        of_our_jobs = {"jobQueue": [pipeline.reconstruction.job_queue.job_queue_arn]}
        job, reason = (
            events.EventField.from_path("$.detail.jobId"),
            events.EventField.from_path("$.detail.statusReason"),
        )
        self._tell(
            "JobQueueBlocked",
            events.EventPattern(source=["aws.batch"], detail_type=["Batch Job Queue Blocked"], detail=of_our_jobs),
            f"raki: GPU job {job} waits and holds up those behind it. AWS says: {reason}. Usual causes: the account's "
            "quota of G instances, or no GPU to be had in the zone. Scans wait in the queue; none is lost.",
        )
        self._tell(
            "JobFailed",
            events.EventPattern(
                source=["aws.batch"],
                detail_type=["Batch Job State Change"],
                detail={**of_our_jobs, "status": ["FAILED"]},
            ),
            f"raki: GPU job {job} failed. AWS says: {reason}. What it held goes back to the queue, and another job "
            "takes it up. If this comes again and again, look at the job's log in the console of Batch.",
        )
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

    def _tell(self, name: str, pattern: events.EventPattern, text: str) -> None:
        events.Rule(
            self,
            name,
            description=f"raki: {name} is told to the operator",
            event_pattern=pattern,
            # No role: EventBridge delivers to an encrypted topic by the topic's and the key's policies alone.
            targets=[targets.SnsTopic(self._topic, message=events.RuleTargetInput.from_text(text))],
        )
