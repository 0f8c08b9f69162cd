"""GPU instances: of which kinds they are, how they are prepared at their first boot, and what the ECS agent may."""

from pathlib import Path

from aws_cdk import Aws
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.gpus import INSTANCE_TYPES, max_vcpus
from infra.network.stack import NetworkStack
from infra.pipeline.scratch import Scratch

# On demand; a test compares it with the prices that `raki cost` has.
DEAREST_HOUR_USD = 1.006
PREPARE = Path(__file__).with_name("prepare_instance.sh")


class GpuInstances(Construct):
    """What all GPU instances share, whichever of Batch's compute environments they are in."""

    def __init__(self, scope: Construct, construct_id: str, *, network: NetworkStack, scratch: Scratch | None) -> None:
        super().__init__(scope, construct_id)
        self._network = network
        self.role = _agent_role(self)
        self.launch_template = _launch_template(self, lustre_source=scratch.lustre_source if scratch else "")
        if scratch:
            # An instance mounts it at its first boot, when the ports and the prepared bucket's folder have to be there.
            self.launch_template.node.add_dependency(scratch)

    def environment(
        self, scope: Construct, construct_id: str, *, max_instances: int, spot: bool = False, enabled: bool = True
    ) -> batch.ManagedEc2EcsComputeEnvironment:
        """A compute environment of such instances, with none in it while there is no job."""
        strategies = batch.AllocationStrategy
        environment = batch.ManagedEc2EcsComputeEnvironment(
            scope,
            construct_id,
            allocation_strategy=strategies.SPOT_PRICE_CAPACITY_OPTIMIZED if spot else strategies.BEST_FIT_PROGRESSIVE,
            enabled=enabled,
            images=[batch.EcsMachineImage(image_type=batch.EcsMachineImageType.ECS_AL2023_NVIDIA)],
            instance_role=self.role,
            instance_types=[ec2.InstanceType(name) for name in INSTANCE_TYPES],
            launch_template=self.launch_template,
            maxv_cpus=max_vcpus(max_instances),
            minv_cpus=0,
            replace_compute_environment=False,
            security_groups=[self._network.jobs],
            spot=spot,
            terminate_on_update=False,
            update_to_latest_image_version=True,
            use_optimal_instance_classes=False,
            vpc=self._network.vpc,
            vpc_subnets=self._network.pinned,
        )
        resource = environment.node.default_child
        assert isinstance(resource, batch.CfnComputeEnvironment)
        # The construct has no argument for it. Without its number, a new version of the template would be no change
        # of the environment, and instances would go on starting with the old one.
        resource.add_property_override(
            "ComputeResources.LaunchTemplate.Version", self.launch_template.latest_version_number
        )
        # Batch's own delay before it ends an idle instance, 20 minutes at least (AWS Batch API Reference,
        # ComputeScalingPolicy), stays off: a job itself waits for as long as waiting costs less than a start.
        return environment


def _launch_template(scope: Construct, *, lustre_source: str) -> ec2.LaunchTemplate:
    """AMI, role, subnets and security group are the compute environment's."""
    script = PREPARE.read_text(encoding="ascii").replace("@LUSTRE_SOURCE@", lustre_source)
    user_data = ec2.MultipartUserData()  # Batch puts a part of its own beside this one
    user_data.add_part(
        ec2.MultipartBody.from_raw_body(body=script, content_type='text/x-shellscript; charset="us-ascii"')
    )
    # Images and logs. Scans are on the instance store.
    root = ec2.BlockDevice(
        device_name="/dev/xvda",
        volume=ec2.BlockDeviceVolume.ebs(
            100, delete_on_termination=True, encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3
        ),
    )
    return ec2.LaunchTemplate(
        scope,
        "Template",
        block_devices=[root],
        http_endpoint=True,
        http_put_response_hop_limit=1,
        http_tokens=ec2.LaunchTemplateHttpTokens.REQUIRED,
        instance_initiated_shutdown_behavior=ec2.InstanceInitiatedShutdownBehavior.TERMINATE,
        user_data=user_data,
    )


def _agent_role(scope: Construct) -> iam.Role:
    """What the ECS agent needs to put its instance into Batch's cluster and to run what it is sent there.

    That is AmazonEC2ContainerServiceforEC2Role but for what Batch does itself, as making the cluster, and for what the
    job definition's execution role does, images and logs.
    """
    role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
    # Batch makes the clusters, and names them.
    clusters, instances = (
        f"arn:{Aws.PARTITION}:ecs:{Aws.REGION}:{Aws.ACCOUNT_ID}:{kind}/*" for kind in ("cluster", "container-instance")
    )
    for actions, resource, conditions in (
        (["DiscoverPollEndpoint"], "*", None),  # which knows no resource
        (["DeregisterContainerInstance", "RegisterContainerInstance"], clusters, None),
        (["SubmitAttachmentStateChanges", "SubmitContainerStateChange", "SubmitTaskStateChange"], clusters, None),
        (["Poll", "StartTelemetrySession", "UpdateContainerInstancesState"], instances, None),
        (["TagResource"], instances, {"StringEquals": {"ecs:CreateAction": "RegisterContainerInstance"}}),
    ):
        role.add_to_policy(
            iam.PolicyStatement(
                actions=[f"ecs:{action}" for action in actions], conditions=conditions, resources=[resource]
            )
        )
    return role
