"""A file gateway on EC2 in the deployment's own network, to try the service out before one stands in the hospital."""

from aws_cdk import CfnOutput, Fn, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from infra.deployment import PREFIX, Deployment, SettingsError
from infra.gateway.activation import Activation
from infra.gateway.needs import HOST_TYPE
from infra.network.perimeter import keep_within
from infra.network.stack import HTTPS, NetworkStack
from infra.storage.stack import StorageStack

# User guide of S3 File Gateway, "Port requirements"; NFS version 3 asks the port mapper and the mount service first.
SHARE_PORTS = {"nfs": (2049, 111, 20048), "smb": (445,)}
# The same guide, "Activating a gateway in a virtual private cloud".
ENDPOINT_PORTS = (1026, 1027, 1028, 1031, 2222)


class GatewayStack(Stack):
    """An S3 File Gateway on EC2, activated, with its cache.

    The cache may hold files that aren't uploaded yet: stack and instance are protected from termination, and the
    cache's volume outlives the instance. How a hospital's network reaches the gateway (VPN, Direct Connect, a host in
    the same network) is not this stack's matter.

    Raises:
        SettingsError: the settings ask for a share that this gateway can't serve.
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
        super().__init__(
            scope, construct_id, description="raki: a file gateway for evaluation", termination_protection=True
        )
        _check(deployment)
        self._network, self._storage, self._deployment = network, storage, deployment
        self.group = self._group("Gateway", "raki: the file gateway")
        self._activators = self._group("Activators", "raki: activation of the file gateway")
        self._admit()
        # The appliance's ways to AWS and the handler's, open from the activation until the gateway is deleted again.
        self._ways: list[IDependable] = [self.group]
        instance = self._add_instance()
        activation = Activation(
            self,
            "Activation",
            address=instance.attr_private_ip,
            deployment=deployment,
            endpoint=self._add_endpoints() if deployment.egress == "endpoints" else None,
            group=self._activators,
            network=network,
            storage=storage,
        )
        activation.node.add_dependency(*self._ways)
        self.gateway_arn = activation.gateway_arn
        CfnOutput(self, "GatewayAddress", value=instance.attr_private_ip)

    def _group(self, name: str, description: str) -> ec2.SecurityGroup:
        group = ec2.SecurityGroup(self, name, vpc=self._network.vpc, allow_all_outbound=False, description=description)
        group.add_egress_rule(ec2.Peer.any_ipv4(), HTTPS, "AWS's services; all of them by HTTPS")
        return group

    def _admit(self) -> None:
        """Clients to the share, the activation to the appliance."""
        for client in self._deployment.share_clients:
            peer = ec2.Peer.ipv4(str(client)) if client.version == 4 else ec2.Peer.ipv6(str(client))
            for port in SHARE_PORTS[self._deployment.share_protocol]:
                self.group.add_ingress_rule(peer, ec2.Port.tcp(port), "hosts that may mount the share")
        self.group.add_ingress_rule(self._activators, ec2.Port.HTTP, "activation; the appliance closes it afterwards")
        self._activators.add_egress_rule(self.group, ec2.Port.HTTP, "the appliance's activation key")
        if self._deployment.egress != "endpoints":
            # Without the internet there is the network's own time service, which like its names no group holds back.
            self.group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.udp(123), "the appliance's time servers")

    def _add_instance(self) -> ec2.CfnInstance:
        role = iam.Role(self, "InstanceRole", assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"))
        # The image is looked up when the instance is launched. As a parameter of the template it would be another one
        # with each release, and replace the gateway at the next deployment.
        template = ec2.CfnLaunchTemplate(
            self,
            "Image",
            launch_template_data=ec2.CfnLaunchTemplate.LaunchTemplateDataProperty(
                image_id="resolve:ssm:/aws/service/storagegateway/ami/FILE_S3/latest",
                metadata_options=ec2.CfnLaunchTemplate.MetadataOptionsProperty(http_tokens="required"),
            ),
        )
        return ec2.CfnInstance(
            self,
            "Instance",
            # The least that the guide asks for; the cache is the second disk.
            block_device_mappings=[self._disk("/dev/xvda", 80), self._disk("/dev/sdb", 150, kept=True)],
            disable_api_termination=True,
            ebs_optimized=True,
            iam_instance_profile=iam.CfnInstanceProfile(self, "InstanceProfile", roles=[role.role_name]).ref,
            instance_type=HOST_TYPE,
            launch_template=ec2.CfnInstance.LaunchTemplateSpecificationProperty(
                launch_template_id=template.ref, version=template.attr_latest_version_number
            ),
            monitoring=True,
            security_group_ids=[self.group.security_group_id],
            subnet_id=self._network.vpc.select_subnets(subnets=self._network.private.subnets).subnet_ids[0],
        )

    def _disk(self, device: str, size_gib: int, *, kept: bool = False) -> ec2.CfnInstance.BlockDeviceMappingProperty:
        volume = ec2.CfnInstance.EbsProperty(
            delete_on_termination=not kept,
            encrypted=True,
            kms_key_id=self._storage.data_key.key_arn,
            volume_size=size_gib,
            volume_type="gp3",
        )
        return ec2.CfnInstance.BlockDeviceMappingProperty(device_name=device, ebs=volume)

    def _add_endpoints(self) -> str:
        """Ways to AWS without the internet; returns the name of Storage Gateway's own."""
        group = ec2.SecurityGroup(
            self,
            "Endpoints",
            vpc=self._network.vpc,
            allow_all_outbound=False,
            description="raki: endpoints of the file gateway",
        )
        for client in (self.group, self._activators):
            group.add_ingress_rule(client, HTTPS)
        for port in ENDPOINT_PORTS:
            group.add_ingress_rule(self.group, ec2.Port.tcp(port))
            self.group.add_egress_rule(group, ec2.Port.tcp(port), "Storage Gateway's endpoint")
        if self._deployment.share_protocol == "smb":
            if shared := self._network.secrets_endpoint_group:
                # By its id alone: the rules are this stack's, which the network's can't depend on.
                of_network = ec2.SecurityGroup.from_security_group_id(self, "Secrets", shared.security_group_id)
                for client in (self.group, self._activators):
                    of_network.add_ingress_rule(client, HTTPS)
                self._ways.append(of_network)
            else:
                self._endpoint("secretsmanager", group, private_dns_enabled=True)
        # Without a private name, as the guide has it: the appliance and the SDK are given the endpoint's own.
        endpoint = self._endpoint("storagegateway", group, private_dns_enabled=False)
        # The first entry is the name for all zones, behind the id of its hosted zone.
        return Fn.select(1, Fn.split(":", Fn.select(0, endpoint.vpc_endpoint_dns_entries)))

    def _endpoint(
        self, service: str, group: ec2.SecurityGroup, *, private_dns_enabled: bool
    ) -> ec2.InterfaceVpcEndpoint:
        endpoint = ec2.InterfaceVpcEndpoint(
            self,
            service.capitalize(),
            open=False,
            private_dns_enabled=private_dns_enabled,
            security_groups=[group],
            service=ec2.InterfaceVpcEndpointAwsService(service),
            subnets=self._network.private,
            vpc=self._network.vpc,
        )
        keep_within(endpoint, service)
        self._ways += [endpoint, group]
        return endpoint


def _check(deployment: Deployment) -> None:
    if deployment.share_protocol == "smb" and deployment.smb_authentication != "guest":
        raise SettingsError(
            f"{PREFIX}gateway_on_ec2 asks for a gateway that is in no directory, and {PREFIX}smb_authentication is "
            f"{deployment.smb_authentication}; set it to guest, or name a gateway of your own by {PREFIX}gateway_arn"
        )
    if not deployment.share_clients:
        raise SettingsError(
            f"{PREFIX}share_clients is empty, and nobody would reach the gateway on EC2; name the networks that may, "
            "as 10.1.0.0/16,10.2.3.4/32"
        )
