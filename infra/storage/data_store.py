"""A data store of AWS HealthImaging, where results are imported into one."""

from aws_cdk import Aws, CfnRule, CfnRuleAssertion, Fn, RemovalPolicy, Stack, Token
from aws_cdk import aws_healthimaging as healthimaging
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.deployment import NEW, PREFIX, SettingsError
from infra.storage.needs import HEALTHIMAGING_REGIONS

SERVICE = "medical-imaging.amazonaws.com"


def data_store(scope: Construct, construct_id: str, *, named: str, key: kms.Key) -> str:
    """The id of the data store that is named, or of a new one, which outlives its stack.

    Raises:
        SettingsError: the stack's region is known, and there is no HealthImaging.
    """
    _check_region(scope)
    if named != NEW:
        return named
    _admit(key)
    made = healthimaging.CfnDatastore(scope, construct_id, kms_key_arn=key.key_arn)
    made.apply_removal_policy(RemovalPolicy.RETAIN)
    made.node.add_dependency(key)
    return made.attr_datastore_id


def _admit(key: kms.Key) -> None:
    """Lets HealthImaging use the key, for data stores that it is the key of. They are made with a grant besides.

    AWS HealthImaging Developer Guide, "Data encryption". The one data store can't be named: it needs the key first.
    """
    of_account = f"arn:{Aws.PARTITION}:kms:{Aws.REGION}:{Aws.ACCOUNT_ID}:key/*"
    key.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["kms:Decrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"],
            conditions={
                "ArnLike": {"kms:EncryptionContext:kms-arn": of_account},
                "StringLike": {"kms:EncryptionContext:aws:medical-imaging:datastoreId": "*"},
            },
            principals=[iam.ServicePrincipal(SERVICE)],
            resources=["*"],  # in a key's policy: the key
        )
    )


def _check_region(scope: Construct) -> None:
    """Refuses a region without HealthImaging: here where it is known, in CloudFormation where it isn't.

    Raises:
        SettingsError: it is known, and there is none.
    """
    region = Stack.of(scope).region
    remedy = (
        f"AWS HealthImaging is offered in {', '.join(HEALTHIMAGING_REGIONS)} only: deploy to one of them, or leave "
        f"{PREFIX}healthimaging out"
    )
    if not Token.is_unresolved(region):
        if region not in HEALTHIMAGING_REGIONS:
            raise SettingsError(f"the region is {region}; {remedy}")
        return
    CfnRule(
        scope,
        "HealthImagingRegion",
        assertions=[
            CfnRuleAssertion(
                assert_=Fn.condition_contains(list(HEALTHIMAGING_REGIONS), Aws.REGION), assert_description=f"{remedy}."
            )
        ],
    )
