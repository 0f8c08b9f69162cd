"""The data perimeter: through the network's endpoints this account's identities reach this account's resources alone.

Whoever takes over a worker carries no scan to a bucket or a queue of his own, neither by the worker's identity nor by
one that he has brought along. A policy of an endpoint allows nothing by itself; it is the most that goes through. AWS
PrivateLink Guide, "Control access to VPC endpoints using endpoint policies"; IAM User Guide, "AWS global condition
context keys", aws:PrincipalAccount and aws:ResourceAccount; AWS's "Data perimeter policy examples", from which the
exceptions are.
"""

from aws_cdk import Aws, Fn
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam

OPEN = ("storagegateway",)
"""Services whose endpoints let everything through: an appliance calls with an identity that AWS gave it, no account's.
What it may do there is with its own gateway; its files go through S3's endpoint, by roles of this account."""


def keep_within(endpoint: ec2.InterfaceVpcEndpoint | ec2.GatewayVpcEndpoint, service: str) -> None:
    """Puts the perimeter on an endpoint of `service`, its name as in `com.amazonaws.REGION.NAME`."""
    if service in OPEN:
        return
    for statement in [_own(), *(_of_aws() if service == "s3" else [])]:
        endpoint.add_to_policy(statement)


def _own() -> iam.PolicyStatement:
    both = {"aws:PrincipalAccount": Aws.ACCOUNT_ID, "aws:ResourceAccount": Aws.ACCOUNT_ID}
    return iam.PolicyStatement(
        actions=["*"], conditions={"StringEquals": both}, principals=[iam.StarPrincipal()], resources=["*"]
    )


def _of_aws() -> list[iam.PolicyStatement]:
    """Buckets of AWS that the network lives on. Who asks is another account's or nobody: the URLs are signed by AWS."""
    return [
        iam.PolicyStatement(
            actions=["s3:GetObject"],
            principals=[iam.StarPrincipal()],
            resources=[
                # The layers of images: Amazon ECR User Guide, "Minimum Amazon S3 Bucket Permissions for Amazon ECR".
                f"arn:{Aws.PARTITION}:s3:::prod-{Aws.REGION}-starport-layer-bucket/*",
                # Packages of Amazon Linux 2023: its User Guide, "Kernel Live Patching on AL2023".
                f"arn:{Aws.PARTITION}:s3:::al2023-repos-{Aws.REGION}-de612dc2/*",
            ],
        ),
        # Answers of custom resources in the network: AWS CloudFormation User Guide, "Access CloudFormation using an
        # interface endpoint". The names have the region without its dashes.
        iam.PolicyStatement(
            actions=["s3:PutObject"],
            principals=[iam.StarPrincipal()],
            resources=[
                f"arn:{Aws.PARTITION}:s3:::cloudformation-custom-resource-response-"
                f"{Fn.join('', Fn.split('-', Aws.REGION))}/*"
            ],
        ),
    ]
