"""The private network that the workers, the GPU instances and the scratch file system stand in."""

from collections.abc import Sequence
from ipaddress import AddressValueError, IPv4Address

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from infra.deployment import PREFIX, Deployment, SettingsError
from infra.log_groups import log_group
from infra.network.endpoints import INTERFACE_ENDPOINTS
from infra.network.perimeter import keep_within
from infra.storage.stack import StorageStack
from infra.values import ZONE_ID
from raki.destination import Destination

HTTPS = ec2.Port.tcp(443)


class NetworkStack(Stack):
    """Private subnets that no address of the internet reaches, and what they reach of AWS.

    S3 and DynamoDB are reached by gateway endpoints, which are free, everything else by interface endpoints or through
    one NAT gateway, as the deployment has it. In a VPC of the site's own, subnets, routes and gateway endpoints are the
    site's, and nothing of them is changed.

    Raises:
        SettingsError: there are fewer zones than the deployment asks for.
    """

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack, deployment: Deployment) -> None:
        super().__init__(scope, construct_id, description="raki: the private network")
        self.vpc = self._vpc_of_site(deployment) if deployment.vpc_id else self._own_vpc(storage, deployment)
        isolated = deployment.egress == "endpoints" and not deployment.vpc_id
        subnets = self.vpc.isolated_subnets if isolated else self.vpc.private_subnets
        if len(subnets) != deployment.n_zones:
            raise SettingsError(
                f"{PREFIX}zones asks for {deployment.n_zones} zones, and the network would have {len(subnets)}; name "
                "zones that the region has"
            )
        self.private = ec2.SubnetSelection(subnets=subnets)
        # GPU instances and FSx stand in one zone: FSx is in one anyway, and traffic between zones is billed.
        self.pinned = ec2.SubnetSelection(subnets=subnets[:1])
        self.workers = self._group("Workers", "raki: decompression workers")
        self.jobs = self._group("Jobs", "raki: GPU instances")
        self.senders = self._senders(deployment.archive) if deployment.archive else None
        self.secrets_endpoint_group: ec2.SecurityGroup | None = None
        """Of the way to Secrets Manager without the internet, where there is one: a network has one at most."""
        if deployment.egress == "endpoints":
            self._add_endpoints()

    def _own_vpc(self, storage: StorageStack, deployment: Deployment) -> ec2.Vpc:
        with_nat = deployment.egress == "nat"
        named = list(deployment.named_zones)
        vpc = ec2.Vpc(
            self,
            "Vpc",
            availability_zones=named or None,
            ip_addresses=ec2.IpAddresses.cidr(str(deployment.vpc_cidr)),
            max_azs=None if named else deployment.n_zones,
            nat_gateways=1 if with_nat else 0,
            # CDK closes the default group by a custom resource written for Node, which the local cloud can't run.
            # Nothing here uses that group.
            restrict_default_security_group=False,
            subnet_configuration=_subnets(with_nat=with_nat, private_prefix=deployment.private_prefix),
        )
        if named and all(ZONE_ID.fullmatch(zone) for zone in named):
            _place_by_id([*vpc.public_subnets, *vpc.private_subnets, *vpc.isolated_subnets])
        dynamodb = vpc.add_gateway_endpoint("DynamoDb", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB)
        keep_within(dynamodb, "dynamodb")
        keep_within(vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3), "s3")
        logs = log_group(self, "FlowLogs", key=storage.operations_key)
        vpc.add_flow_log("Flow", destination=ec2.FlowLogDestination.to_cloud_watch_logs(logs))
        return vpc

    def _vpc_of_site(self, deployment: Deployment) -> ec2.IVpc:
        """By its id and its subnets' alone: what else there is of it isn't read when the stacks are made."""
        zones = list(deployment.named_zones) or [f"zone-{at}" for at in range(deployment.n_zones)]
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            availability_zones=zones,  # told apart by them, no more
            private_subnet_ids=list(deployment.vpc_subnets),
            vpc_id=deployment.vpc_id,
        )
        for subnet in vpc.private_subnets:
            Validations.of(subnet).acknowledge(
                Acknowledgment(
                    id="Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId",
                    reason="Routes are the site's; nothing is added to them.",
                )
            )
        return vpc

    def _group(self, name: str, description: str) -> ec2.SecurityGroup:
        """Reached by nobody; reaches HTTPS alone, until the group of another service is named."""
        group = ec2.SecurityGroup(self, name, vpc=self.vpc, allow_all_outbound=False, description=description)
        group.add_egress_rule(ec2.Peer.any_ipv4(), HTTPS, "AWS's services; all of them by HTTPS")
        return group

    def _senders(self, archive: Destination) -> ec2.SecurityGroup:
        """Reaches the picture archive too: its address alone, or its port alone where only its name is known."""
        group = self._group("Senders", "raki: senders of images to the picture archive")
        try:
            peer = ec2.Peer.ipv4(f"{IPv4Address(archive.host)}/32")
        except AddressValueError:
            peer = ec2.Peer.any_ipv4()
        group.add_egress_rule(peer, ec2.Port.tcp(archive.port), "the picture archive")
        return group

    def _add_endpoints(self) -> None:
        endpoints = ec2.SecurityGroup(
            self, "Endpoints", vpc=self.vpc, allow_all_outbound=False, description="raki: interface endpoints"
        )
        for client in (self.workers, self.jobs, *([self.senders] if self.senders else [])):
            endpoints.add_ingress_rule(client, HTTPS)
        self.secrets_endpoint_group = endpoints
        for name in INTERFACE_ENDPOINTS:
            endpoint = self.vpc.add_interface_endpoint(
                "".join(part.capitalize() for part in name.replace("-", ".").split(".")),
                open=False,
                security_groups=[endpoints],
                service=ec2.InterfaceVpcEndpointAwsService(name),
                subnets=self.private,
            )
            keep_within(endpoint, name)


def _subnets(*, with_nat: bool, private_prefix: int) -> list[ec2.SubnetConfiguration]:
    if not with_nat:
        isolated = ec2.SubnetType.PRIVATE_ISOLATED
        return [ec2.SubnetConfiguration(name="Isolated", subnet_type=isolated, cidr_mask=private_prefix)]
    return [
        # The NAT gateway's own place, and nobody else's.
        ec2.SubnetConfiguration(
            name="Public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=28, map_public_ip_on_launch=False
        ),
        ec2.SubnetConfiguration(
            name="Private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=private_prefix
        ),
    ]


def _place_by_id(subnets: Sequence[ec2.ISubnet]) -> None:
    """Ids mean the same place in every account, names don't; the construct takes them for names."""
    for subnet in subnets:
        resource = subnet.node.default_child
        assert isinstance(resource, ec2.CfnSubnet)
        resource.add_property_deletion_override("AvailabilityZone")
        resource.add_property_override("AvailabilityZoneId", subnet.availability_zone)
