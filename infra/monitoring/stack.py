"""Monitoring: a dashboard, alarms by mail, saved questions to the logs, and a budget."""

from aws_cdk import Aws, CfnOutput, Stack
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_fsx as fsx
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.deployment import Deployment
from infra.monitoring.alarms import Alarms
from infra.monitoring.dashboard import Dashboard
from infra.monitoring.notices import Notices
from infra.monitoring.queries import FAILURES, WHERE_IS_A_SCAN, save
from infra.pipeline.stack import PipelineStack
from infra.storage.stack import StorageStack

COST_TAG = "user:project$raki"
"""The tag that every stack carries, as Budgets spells it: `user:KEY$VALUE`."""


class MonitoringStack(Stack):
    """Watches a deployment from outside: it works without this stack, and this stack may be torn down at any time."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        storage: StorageStack,
        pipeline: PipelineStack,
        deployment: Deployment,
        gateway_arn: str = "",
    ) -> None:
        super().__init__(scope, construct_id, description="raki: dashboard, alarms and budget")
        self.topic = self._topic(storage, deployment)
        scratch = pipeline.reconstruction.scratch
        file_system = scratch.file_system if scratch else None
        alarms = self._alarms(storage, pipeline, file_system, gateway_arn)
        Notices(self, "Notices", topic=self.topic, pipeline=pipeline)

        log_groups = [found for found in pipeline.node.find_all() if isinstance(found, logs.LogGroup)]
        save(self, "WhereIsAScan", WHERE_IS_A_SCAN, log_groups)
        save(self, "Failures", FAILURES, log_groups)
        dashboard = Dashboard(
            self,
            "Page",
            storage=storage,
            deployment=deployment,
            alarms=alarms.all,
            log_groups=log_groups,
            file_system=file_system,
        )
        CfnOutput(
            self,
            "DashboardAddress",
            value=f"https://{Aws.REGION}.console.aws.amazon.com/cloudwatch/home?region={Aws.REGION}"
            f"#dashboards/dashboard/{dashboard.name}",
        )
        if deployment.monthly_budget_usd:
            add_budget(self, deployment)

    def _alarms(
        self,
        storage: StorageStack,
        pipeline: PipelineStack,
        file_system: fsx.LustreFileSystem | None,
        gateway_arn: str,
    ) -> Alarms:
        alarms = Alarms(self, "Alarms", topic=self.topic)
        alarms.watch_queues(storage)
        alarms.watch_function("scale_decompression", pipeline.decompression.scale.function, each_minute=True)
        alarms.watch_function("dispatch_reconstruction", pipeline.reconstruction.dispatch.function, each_minute=True)
        alarms.watch_function("refresh_gateway", pipeline.delivery.refresh.function, each_minute=False)
        alarms.watch_function("renew_instances", pipeline.patching.renew.function, each_minute=False)
        alarms.watch_function("reconcile", pipeline.reconciliation.reconcile.function, each_minute=False)
        alarms.watch_scans()
        alarms.watch_machines()
        alarms.watch_patching()
        if pipeline.sending:
            alarms.watch_sending()
        if pipeline.importing:
            alarms.watch_function("import_results", pipeline.importing.import_results.function, each_minute=False)
            alarms.watch_imports()
        if pipeline.compaction:
            alarms.watch_compaction(pipeline.compaction.hours)
        if file_system:
            alarms.watch_file_system(file_system)
        if gateway_arn:
            alarms.watch_gateway(gateway_arn)
        return alarms

    def _topic(self, storage: StorageStack, deployment: Deployment) -> sns.Topic:
        topic = sns.Topic(
            self, "Topic", display_name="raki alarms", enforce_ssl=True, master_key=storage.operations_key
        )
        # A topic with a policy of its own has lost SNS's default one, by which alarms of the account may publish.
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                conditions={
                    "ArnLike": {
                        "aws:SourceArn": f"arn:{Aws.PARTITION}:cloudwatch:{Aws.REGION}:{Aws.ACCOUNT_ID}:alarm:*"
                    },
                    "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                },
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                resources=[topic.topic_arn],
            )
        )
        if deployment.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(deployment.alarm_email))
        return topic


def add_budget(scope: Construct, deployment: Deployment) -> None:
    """Counts what carries the tag `project`, once it is activated as a cost allocation tag in the billing console.

    Without an address there is nobody to tell: the budget is then seen in the console only.
    """
    mails = [
        budgets.CfnBudget.NotificationWithSubscribersProperty(
            notification=budgets.CfnBudget.NotificationProperty(
                comparison_operator="GREATER_THAN",
                notification_type=kind,
                threshold=percent,
                threshold_type="PERCENTAGE",
            ),
            subscribers=[
                budgets.CfnBudget.SubscriberProperty(address=deployment.alarm_email, subscription_type="EMAIL")
            ],
        )
        for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
    ]
    budgets.CfnBudget(
        scope,
        "Budget",
        budget=budgets.CfnBudget.BudgetDataProperty(
            budget_limit=budgets.CfnBudget.SpendProperty(amount=deployment.monthly_budget_usd, unit="USD"),
            budget_type="COST",
            cost_filters={"TagKeyValue": [COST_TAG]},
            time_unit="MONTHLY",
        ),
        notifications_with_subscribers=mails if deployment.alarm_email else None,
    )
