"""Who looks after the service: one role with what `raki status`, `logs`, `submit`, `retry` and `cancel` ask of AWS.

Names of actions and what each can be limited to: AWS Service Authorization Reference.
"""

from collections.abc import Sequence

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.permissions import allow, read_objects, read_own_secret, send, use_ledger, write_objects
from infra.storage.stack import StorageStack

# A working day: assumed once in the morning.
SESSION = Duration.hours(8)


class Operators(Construct):
    """A role that the named people and roles of the account take on.

    It reads every scan and result, puts scans among the raw ones, and can end any; nothing of it deletes a raw scan.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        storage: StorageStack,
        log_groups: Sequence[logs.LogGroup],
        arns: Sequence[str],
    ) -> None:
        super().__init__(scope, construct_id)
        trusted = iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in arns))
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=trusted,
            description="raki: an operator's commands",
            max_session_duration=SESSION,
        )
        CfnOutput(Stack.of(self), "OperatorRole", value=self.role.role_arn)
        self._let_it_look(storage, log_groups)
        self._let_it_act(storage)

    def _let_it_look(self, storage: StorageStack, log_groups: Sequence[logs.LogGroup]) -> None:
        stacks = [
            Stack.of(self).format_arn(service="cloudformation", resource="stack", resource_name=f"{name}/*")
            for name in (storage.stack_name, Stack.of(self).stack_name)
        ]
        allow(self.role, "cloudformation:DescribeStacks", on=stacks)
        read_own_secret(self.role, storage.scan_id_key_arn, storage.data_key)
        use_ledger(self.role, storage.ledger, "dynamodb:GetItem", "dynamodb:Scan")
        allow(self.role, "sqs:GetQueueAttributes", on=[storage.ingest_queue.queue_arn])
        read_objects(self.role, storage.raw)
        read_objects(self.role, storage.results)
        allow(self.role, "logs:FilterLogEvents", on=[group.log_group_arn for group in log_groups])

    def _let_it_act(self, storage: StorageStack) -> None:
        write_objects(self.role, storage.raw)  # submit
        import_queue = storage.imports.queue if storage.imports else None
        for queue in filter(None, (storage.ingest_queue, storage.send_queue, import_queue)):
            send(self.role, queue)  # retry
        use_ledger(self.role, storage.ledger, "dynamodb:PutItem", "dynamodb:UpdateItem")
        write_objects(self.role, storage.results)  # the page of a scan that was cancelled, in place of what it left
        allow(self.role, "s3:DeleteObject", on=[storage.results.arn_for_objects("*")])
        # TerminateJob can be allowed by job only, not by queue, and Batch makes up the ids.
        jobs = Stack.of(self).format_arn(service="batch", resource="job", resource_name="*")
        allow(self.role, "batch:TerminateJob", on=[jobs])
        # DescribeJobs knows no resource-level permission.
        allow(self.role, "batch:DescribeJobs", on=["*"])
