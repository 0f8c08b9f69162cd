"""Backups: a vault of AWS Backup with each day's raw scans, results and ledger, and copies in another region.

What is deleted or overwritten comes back from the buckets' own versions, and the ledger from its log of 35 days. This
is for what takes a whole bucket or table along, or the region.
"""

from collections.abc import Sequence

from aws_cdk import Aws, Duration, RemovalPolicy
from aws_cdk import aws_backup as backup
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.deployment import CROSS_REGION, Deployment

POLICIES = ("AWSBackupServiceRolePolicyForBackup", "AWSBackupServiceRolePolicyForS3Backup")
"""AWS's own: AWS Backup Developer Guide, "Permissions and policies for Amazon S3 backup and restore"."""


class Backups(Construct):
    """Vault, plan and role. The vault outlives its stack, and nobody deletes from it what is to be kept."""

    def __init__(
        self, scope: Construct, construct_id: str, *, key: kms.IKey, arns: Sequence[str], deployment: Deployment
    ) -> None:
        super().__init__(scope, construct_id)
        keep = Duration.days(deployment.backup_days)
        self.vault = backup.BackupVault(
            self,
            "Vault",
            encryption_key=key,
            # Without a time after which the lock itself stays for good, and a mistaken number with it.
            lock_configuration=backup.LockConfiguration(min_retention=keep),
            removal_policy=RemovalPolicy.RETAIN,
        )
        plan = backup.BackupPlan(self, "Plan", backup_plan_name="raki", backup_vault=self.vault)
        copies = []
        if deployment.backup == CROSS_REGION:
            elsewhere = backup.BackupVault.from_backup_vault_arn(self, "Elsewhere", deployment.backup_copy_to)
            copies = [
                backup.BackupPlanCopyActionProps(
                    delete_after=keep, destination_backup_vault=elsewhere, move_to_cold_storage_after=None
                )
            ]
        plan.add_rule(
            backup.BackupPlanRule(
                copy_actions=copies or None,
                delete_after=keep,
                rule_name="EachDay",
                schedule_expression=events.Schedule.cron(hour="2", minute="0"),
            )
        )
        plan.add_selection(
            "Data",
            resources=[backup.BackupResource.from_arn(arn) for arn in arns],
            # The CDK would add the first of the policies once more.
            role=self._role().without_policy_updates(),
        )

    def _role(self) -> iam.Role:
        return iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "backup.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
            ),
            description="raki: backups",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name(
                    name if name.endswith("S3Backup") else f"service-role/{name}"
                )
                for name in POLICIES
            ],
        )
