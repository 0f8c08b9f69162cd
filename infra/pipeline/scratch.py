"""Scratch that several GPU jobs share: FSx for Lustre, in which the prepared bucket can be read as files."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_fsx as fsx
from constructs import Construct

from infra.deployment import Deployment
from infra.network.stack import NetworkStack
from infra.storage.stack import StorageStack

# Lustre's own traffic, in both directions (FSx for Lustre guide, "File system access control with Amazon VPC").
PORTS = (ec2.Port.tcp(988), ec2.Port.tcp_range(1018, 1023))
FOLDER = "/prepared"


class Scratch(Construct):
    """A file system whose folder /prepared shows the prepared bucket's objects as they come and go.

    The other way nothing goes: results are written to S3 by the job. So there is never anything on it that the bucket
    doesn't hold, and it ends with its stack, the persistent kind too.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: NetworkStack,
        storage: StorageStack,
        deployment: Deployment,
    ) -> None:
        super().__init__(scope, construct_id)
        self._persistent = deployment.scratch == "fsx-persistent"
        group = self._security_group(network)
        self.file_system = fsx.LustreFileSystem(
            self,
            "FileSystem",
            file_system_type_version=fsx.FileSystemTypeVersion.V_2_15,
            # FSx encrypts the scratch kind with a key of its own and takes no other.
            kms_key=storage.data_key if self._persistent else None,
            lustre_configuration=self._configuration(),
            removal_policy=RemovalPolicy.DESTROY,
            security_group=group,
            storage_capacity_gib=deployment.fsx_gib,
            vpc=network.vpc,
            vpc_subnet=network.vpc.select_subnets(subnets=network.pinned.subnets).subnets[0],
        )
        # FSx looks at the group's rules, which are resources of their own, before it makes a file system.
        self.file_system.node.add_dependency(group)
        fsx.CfnDataRepositoryAssociation(
            self,
            "Prepared",
            batch_import_meta_data_on_create=True,
            data_repository_path=f"s3://{storage.prepared.bucket_name}",
            file_system_id=self.file_system.file_system_id,
            file_system_path=FOLDER,
            s3=fsx.CfnDataRepositoryAssociation.S3Property(
                auto_import_policy=fsx.CfnDataRepositoryAssociation.AutoImportPolicyProperty(
                    events=["NEW", "CHANGED", "DELETED"]
                )
            ),
        )

    @property
    def lustre_source(self) -> str:
        """What a client mounts."""
        return f"{self.file_system.dns_name}@tcp:/{self.file_system.mount_name}"

    def _configuration(self) -> fsx.LustreConfiguration:
        if not self._persistent:
            return fsx.LustreConfiguration(
                data_compression_type=fsx.LustreDataCompressionType.LZ4,
                deployment_type=fsx.LustreDeploymentType.SCRATCH_2,
            )
        return fsx.LustreConfiguration(
            data_compression_type=fsx.LustreDataCompressionType.LZ4,
            deployment_type=fsx.LustreDeploymentType.PERSISTENT_2,
            per_unit_storage_throughput=125,
        )

    def _security_group(self, network: NetworkStack) -> ec2.SecurityGroup:
        """Lustre's servers talk to each other and to GPU instances, and call these back; nobody else."""
        group = ec2.SecurityGroup(
            self, "SecurityGroup", allow_all_outbound=False, description="raki: FSx for Lustre", vpc=network.vpc
        )
        for port in PORTS:
            group.connections.allow_internally(port)
            group.connections.allow_from(network.jobs, port)
            group.connections.allow_to(network.jobs, port)
        return group
