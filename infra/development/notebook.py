"""The notebook: Jupyter beside the data, on request with a GPU, and without a way to the internet."""

from pathlib import Path

from aws_cdk import Aws, Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from infra.development.needs import ENDPOINTS, INSTANCE_TYPES
from infra.network.perimeter import keep_within
from infra.network.stack import HTTPS, NetworkStack
from infra.pipeline.scratch import Scratch
from infra.storage.stack import StorageStack

PLATFORM = "notebook-al2023-v1"
VOLUME_GIB = 200
IDLE_MINUTES = 60
PREPARE = Path(__file__).with_name("prepare_notebook.sh")


class Notebook(Construct):
    """A notebook instance and its role, in the zone of the GPU instances."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        scratch: Scratch | None,
        endpoints: bool,
        gpu: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal(
                "sagemaker.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
            ),
        )
        group = self._security_group(network)
        if endpoints:
            self._add_endpoints(network, group)
        instance = sagemaker.CfnNotebookInstance(
            self,
            "Instance",
            direct_internet_access="Disabled",
            instance_metadata_service_configuration=sagemaker.CfnNotebookInstance.InstanceMetadataServiceConfigurationProperty(
                minimum_instance_metadata_service_version="2"
            ),
            instance_type=INSTANCE_TYPES[gpu],
            kms_key_id=storage.data_key.key_arn,
            lifecycle_config_name=self._preparation(scratch).attr_notebook_instance_lifecycle_config_name,
            platform_identifier=PLATFORM,
            role_arn=self.role.role_arn,
            root_access="Disabled",
            # FSx and the network's endpoints admit GPU instances, of which this is one.
            security_group_ids=[group.security_group_id, network.jobs.security_group_id],
            subnet_id=network.vpc.select_subnets(subnets=network.pinned.subnets).subnet_ids[0],
            volume_size_in_gb=VOLUME_GIB,
        )
        self.arn = instance.ref
        self.name = instance.attr_notebook_instance_name

    def _security_group(self, network: NetworkStack) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(
            self, "SecurityGroup", allow_all_outbound=False, description="raki: the notebook", vpc=network.vpc
        )
        # S3 has public addresses, a list of each region's own, and the stacks are tied to none. That these are reached
        # by S3's endpoint, and nothing else, is the routes' doing: the settings refuse a network with a NAT gateway.
        group.add_egress_rule(ec2.Peer.any_ipv4(), HTTPS, "AWS's services; all of them by HTTPS")
        return group

    def _preparation(self, scratch: Scratch | None) -> sagemaker.CfnNotebookInstanceLifecycleConfig:
        script = PREPARE.read_text(encoding="ascii").replace("@IDLE_MINUTES@", str(IDLE_MINUTES))
        script = script.replace("@LUSTRE_SOURCE@", scratch.lustre_source if scratch else "")
        hook = sagemaker.CfnNotebookInstanceLifecycleConfig.NotebookInstanceLifecycleHookProperty
        return sagemaker.CfnNotebookInstanceLifecycleConfig(
            self, "Preparation", on_start=[hook(content=Fn.base64(script))]
        )

    def _add_endpoints(self, network: NetworkStack, client: ec2.SecurityGroup) -> None:
        """Here and not in the network, where they would be paid for without a notebook; in its zone alone."""
        group = ec2.SecurityGroup(
            self, "Endpoints", allow_all_outbound=False, description="raki: endpoints of the notebook", vpc=network.vpc
        )
        group.add_ingress_rule(client, HTTPS)
        for name in ENDPOINTS:
            endpoint = ec2.InterfaceVpcEndpoint(
                self,
                "".join(part.capitalize() for part in name.split(".")),
                open=False,
                security_groups=[group],
                service=ec2.InterfaceVpcEndpointAwsService(name),
                subnets=network.pinned,
                vpc=network.vpc,
            )
            keep_within(endpoint, name)
