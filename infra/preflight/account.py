"""The account and the region as such: credentials, bootstrap, service-linked roles, what the region offers."""

from collections.abc import Iterator

from botocore.exceptions import ClientError

from infra.deployment import NEW, PREFIX, Deployment
from infra.gateway.needs import REGIONS
from infra.preflight.finding import NO_SUCH_STACK, Finding, Place, State, verdict
from infra.storage.needs import HEALTHIMAGING_REGIONS

BOOTSTRAP_STACK = "CDKToolkit"
BOOTSTRAP_VERSION = 6
"""What the assembly asks for; a test compares it."""
OWN_KEY_OF_EBS = "alias/aws/ebs"


def roles_of(deployment: Deployment) -> Iterator[tuple[str, str, State]]:
    """Name of each service-linked role, the service that it belongs to, and what it means if it is missing.

    EC2 User Guide, "Service-linked role for Spot Instance requests": who asks for spot instances by the API, as Batch
    does, has to make the role first. The others are made by their services when they are first asked for something, by
    whoever deploys, who then needs `iam:CreateServiceLinkedRole`; ECS has been seen to fail once in a new account,
    because its role wasn't known everywhere yet.
    """
    yield "AWSServiceRoleForEC2Spot", "spot.amazonaws.com", State.BLOCKS
    yield "AWSServiceRoleForECS", "ecs.amazonaws.com", State.ADVICE
    yield "AWSServiceRoleForBatch", "batch.amazonaws.com", State.ADVICE
    yield "AWSServiceRoleForAutoScaling", "autoscaling.amazonaws.com", State.ADVICE
    if deployment.scratch != "nvme":
        yield "AWSServiceRoleForAmazonFSx", "fsx.amazonaws.com", State.ADVICE


def check_roles(place: Place) -> Iterator[Finding]:
    """Each role, and the command that makes it."""
    iam = place.client("iam")
    for name, service, otherwise in roles_of(place.deployment):
        try:
            iam.get_role(RoleName=name)
            there = True
        except iam.exceptions.NoSuchEntityException:
            there = False
        yield Finding(
            subject=f"role {name}",
            found="there" if there else "missing",
            needed="there",
            state=verdict(there, otherwise=otherwise),
            remedy="" if there else f"aws iam create-service-linked-role --aws-service-name {service}",
        )


def check_bootstrap(place: Place) -> Iterator[Finding]:
    """The CDK's own stack in this region, by which assets are uploaded and stacks made."""
    version = 0
    try:
        described = place.client("cloudformation").describe_stacks(StackName=BOOTSTRAP_STACK)["Stacks"]
        outputs = {one["OutputKey"]: one["OutputValue"] for stack in described for one in stack.get("Outputs", [])}
        version = int(outputs.get("BootstrapVersion", 0))
    except ClientError as error:
        if error.response["Error"]["Code"] != NO_SUCH_STACK:
            raise
    good = version >= BOOTSTRAP_VERSION
    yield Finding(
        subject="CDK bootstrap",
        found=f"version {version}" if version else "none",
        needed=f"version {BOOTSTRAP_VERSION}",
        state=verdict(good),
        remedy="" if good else f"npx cdk bootstrap aws://{place.account}/{place.region}",
    )


def check_region(place: Place) -> Iterator[Finding]:
    """What isn't offered in every region, by the lists that the stacks have too."""
    if place.deployment.has_gateway:
        yield _offered(
            place, "file shares of CloudFormation", REGIONS, f"{PREFIX}gateway_arn and {PREFIX}gateway_on_ec2"
        )
    if place.deployment.healthimaging:
        yield _offered(place, "AWS HealthImaging", HEALTHIMAGING_REGIONS, f"{PREFIX}healthimaging")


def check_volumes(place: Place) -> Iterator[Finding]:
    """GPU instances' disks are encrypted with the key that EBS has by default in the region.

    EC2 Auto Scaling User Guide, "Required AWS KMS key policy for use with encrypted volumes": a key of one's own has to
    admit the roles that start the instances; AWS's own does.
    """
    key = place.client("ec2").get_ebs_default_kms_key_id()["KmsKeyId"]
    own = key.endswith(OWN_KEY_OF_EBS)
    yield Finding(
        subject="default key of EBS volumes",
        found=key,
        needed=f"{OWN_KEY_OF_EBS}, or one that admits AWSServiceRoleForAutoScaling and AWSServiceRoleForEC2Spot",
        state=verdict(own, otherwise=State.ADVICE),
        remedy="" if own else "look into its policy: both need CreateGrant on it, or no GPU instance starts",
    )


def check_data_store(place: Place) -> Iterator[Finding]:
    """The data store that results are imported into, where it isn't a new one."""
    named = place.deployment.healthimaging
    if not named or named == NEW or place.region not in HEALTHIMAGING_REGIONS:
        return
    found = place.client("medical-imaging").get_datastore(datastoreId=named)["datastoreProperties"]["datastoreStatus"]
    good = found == "ACTIVE"
    yield Finding(
        subject=f"data store {named}",
        found=found,
        needed="ACTIVE",
        state=verdict(good),
        remedy="" if good else f"set {PREFIX}healthimaging to one that is active, or to {NEW}",
    )


def _offered(place: Place, what: str, regions: tuple[str, ...], settings: str) -> Finding:
    good = place.region in regions
    return Finding(
        subject=what,
        found="offered" if good else f"not offered in {place.region}",
        needed="offered",
        state=verdict(good),
        remedy="" if good else f"deploy to one of {', '.join(regions[:5])}, or leave {settings} out",
    )
