"""The private network that the workers and the GPU instances stand in."""

from aws_cdk import aws_ec2 as ec2
from constructs import Construct


class Network(Construct):
    """Private subnets in two zones; S3 and DynamoDB by gateway endpoints, which are free, the rest through one NAT."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
                "DynamoDb": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
            },
            max_azs=2,
            nat_gateways=1,
            # CDK closes the default group by a custom resource written for Node, which the local cloud can't run.
            # Nothing here uses that group.
            restrict_default_security_group=False,
        )
        self.private = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
