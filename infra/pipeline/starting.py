"""Tasks that EventBridge starts: on Fargate, once, in the workers' place of the network, and by whose leave."""

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.network.stack import NetworkStack
from infra.permissions import pass_role


def starter(scope: Construct, construct_id: str, *, task: ecs.FargateTaskDefinition, cluster: ecs.Cluster) -> iam.Role:
    """EventBridge may start this task, in this cluster. The construct would let it tag any task there too."""
    role = iam.Role(scope, construct_id, assumed_by=iam.ServicePrincipal("events.amazonaws.com"))
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["ecs:RunTask"],
            conditions={"ArnEquals": {"ecs:cluster": cluster.cluster_arn}},
            resources=[task.task_definition_arn],
        )
    )
    for passed in (task.task_role, task.obtain_execution_role()):
        pass_role(role, passed, to="ecs-tasks.amazonaws.com")
    return role


def one_task(
    task: ecs.FargateTaskDefinition,
    *,
    cluster: ecs.Cluster,
    role: iam.Role,
    network: NetworkStack,
    overrides: Sequence[targets.ContainerOverride] = (),
    max_event_age: Duration | None = None,
) -> targets.EcsTask:
    """What a rule starts. Where Fargate has no place, it is tried again for `max_event_age`, a day where none is given.

    Amazon EventBridge User Guide, "How EventBridge retries delivering events".
    """
    return targets.EcsTask(
        cluster=cluster,
        container_overrides=list(overrides) or None,
        max_event_age=max_event_age,
        role=role.without_policy_updates(),
        security_groups=[network.workers],
        subnet_selection=network.private,
        task_definition=task,
    )


def deployed(scope: Construct) -> events.EventPattern:
    """CloudFormation has ended a deployment of the stack (AWS CloudFormation User Guide, "Managing events with
    CloudFormation and Amazon EventBridge")."""
    return events.EventPattern(
        source=["aws.cloudformation"],
        detail_type=["CloudFormation Stack Status Change"],
        detail={
            "stack-id": [Stack.of(scope).stack_id],
            "status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]},
        },
    )
