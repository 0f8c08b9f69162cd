"""The two file shares on an S3 File Gateway, and the roles by which it reaches their buckets."""

import json
from typing import Any

from aws_cdk import Acknowledgment, ArnFormat, Aws, CfnRule, CfnRuleAssertion, Fn, Stack, Token, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_storagegateway as storagegateway
from constructs import Construct

from infra.deployment import PREFIX, Deployment, SettingsError
from infra.gateway.needs import REGIONS
from infra.log_groups import log_group
from infra.permissions import allow
from infra.storage.stack import StorageStack

ON_BUCKET = (
    "s3:GetAccelerateConfiguration",
    "s3:GetBucketLocation",
    "s3:GetBucketVersioning",
    "s3:ListBucket",
    "s3:ListBucketVersions",
)
TO_READ = ("s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectVersion")
TO_WRITE = ("s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject", "s3:PutObjectAcl")

# The refresh shows a result within a minute or two; should one be lost, whoever opens the folder sees it by then.
_STALE_AFTER_S = 3600


class Shares(Construct):
    """`raw` for dropping scans and a read-only `results`.

    Every opening, writing and deletion of a file is recorded in an audit log, with the user where the protocol knows
    one. That log alone carries names of files, which is what an audit asks for.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, storage: StorageStack, deployment: Deployment, gateway_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        _check_region(self)
        self._gateway_arn = gateway_arn
        self._deployment = deployment
        self._key = storage.data_key
        self._audit_arn = self._add_audit(storage)
        self.raw_role = _gateway_role(self, "RawRole", gateway_arn)
        self.results_role = _gateway_role(self, "ResultsRole", gateway_arn)
        _let_write(self.raw_role, storage.raw, storage.data_key)
        _let_read(self.results_role, storage.results, storage.data_key)
        self.raw_arn = self._share(
            "raw",
            storage.raw,
            self.raw_role,
            default_storage_class="S3_STANDARD",
            notification_policy=json.dumps({"Upload": {"SettlingTimeInSeconds": deployment.settling_s}}),
            read_only=False,
        )
        self.results_arn = self._share(
            "results",
            storage.results,
            self.results_role,
            cache_attributes={"cacheStaleTimeoutInSeconds": _STALE_AFTER_S},
            default_storage_class="S3_INTELLIGENT_TIERING",
            read_only=True,
        )

    def _add_audit(self, storage: StorageStack) -> str:
        """The audit log; its ARN as Storage Gateway takes it, without the `:*` of a policy's."""
        audit = log_group(self, "Audit", key=storage.operations_key)
        return Stack.of(self).format_arn(
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
            resource="log-group",
            resource_name=audit.log_group_name,
            service="logs",
        )

    def _share(self, name: str, bucket: s3.Bucket, role: iam.Role, *, read_only: bool, **own: Any) -> str:
        """One share by the deployment's protocol; returns its ARN."""
        common = {
            **own,
            "audit_destination_arn": self._audit_arn,
            "encryption_type": "SseKms",
            "file_share_name": name,
            "gateway_arn": self._gateway_arn,
            "guess_mime_type_enabled": True,
            "kms_key": self._key.key_arn,
            "location_arn": bucket.bucket_arn,
            # The one ACL that a bucket takes whose owner owns all of it.
            "object_acl": "bucket-owner-full-control",
            "read_only": read_only,
            "role": role.role_arn,
        }
        share = self._nfs(name, common) if self._deployment.share_protocol == "nfs" else self._smb(name, common)
        share.node.add_dependency(role)  # with its policy, which CloudFormation makes apart
        Validations.of(share).acknowledge(
            Acknowledgment(
                id="CloudFormation-Validate::F3006",
                reason="CloudFormation has had this type since 2026; the CDK's own list is older.",
            )
        )
        return share.attr_file_share_arn

    def _nfs(self, name: str, common: dict[str, Any]) -> storagegateway.CfnNFSFileShare:
        """NFS knows hosts, no users: whoever is root there is nobody here."""
        clients = [str(network) for network in self._deployment.share_clients]
        return storagegateway.CfnNFSFileShare(
            self, f"Nfs{name.capitalize()}", client_list=clients, squash="RootSquash", **common
        )

    def _smb(self, name: str, common: dict[str, Any]) -> storagegateway.CfnSMBFileShare:
        """Access lists and who sees what belong to a directory's users; guests are all the same one."""
        with_directory = self._deployment.smb_authentication == "active-directory"
        return storagegateway.CfnSMBFileShare(
            self,
            f"Smb{name.capitalize()}",
            access_based_enumeration=with_directory,
            authentication="ActiveDirectory" if with_directory else "GuestAccess",
            case_sensitivity="ClientSpecified",
            # A host may keep to itself what it is writing; results change without its knowledge.
            oplocks_enabled=not common["read_only"],
            smbacl_enabled=with_directory,
            valid_user_list=list(self._deployment.smb_users) if with_directory else None,
            **common,
        )


def _check_region(scope: Construct) -> None:
    """Refuses a region without file shares: here where it is known, in CloudFormation where it isn't.

    Raises:
        SettingsError: the stack's region is known and CloudFormation has no file shares there.
    """
    region = Stack.of(scope).region
    remedy = (
        f"CloudFormation makes a Storage Gateway's file shares in {', '.join(REGIONS[:4])} and a few closed regions "
        f"only: deploy to one of them, or leave {PREFIX}gateway_arn and {PREFIX}gateway_on_ec2 out"
    )
    if not Token.is_unresolved(region):
        if region not in REGIONS:
            raise SettingsError(f"the region is {region}; {remedy}")
        return
    CfnRule(
        scope,
        "Region",
        assertions=[
            CfnRuleAssertion(assert_=Fn.condition_contains(list(REGIONS), Aws.REGION), assert_description=f"{remedy}.")
        ],
    )


def _gateway_role(scope: Construct, construct_id: str, gateway_arn: str) -> iam.Role:
    """Assumed by Storage Gateway for this gateway, and for no other customer's or this account's."""
    of_this_gateway = {
        "ArnLike": {"aws:SourceArn": gateway_arn},
        "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
    }
    principal = iam.ServicePrincipal("storagegateway.amazonaws.com", conditions=of_this_gateway)
    return iam.Role(scope, construct_id, assumed_by=principal)


def _let_write(role: iam.Role, bucket: s3.Bucket, key: kms.Key) -> None:
    """What the user guide of S3 File Gateway lists under "Granting access to an Amazon S3 bucket", but no versions.

    A rename on the share is a copy and a deletion, and a deletion in a bucket with versions puts a marker in front of
    them that hides the object and destroys nothing (Amazon S3 User Guide, "Deleting object versions from a
    versioning-enabled bucket"). Only `s3:DeleteObjectVersion` would, and nobody has it here.
    """
    allow(role, *ON_BUCKET, "s3:ListBucketMultipartUploads", on=[bucket.bucket_arn])
    allow(role, *TO_READ, *TO_WRITE, "s3:DeleteObject", on=[bucket.arn_for_objects("*")])
    allow(
        role,
        *("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom"),
        "kms:ReEncryptTo",
        on=[key.key_arn],
    )


def _let_read(role: iam.Role, bucket: s3.Bucket, key: kms.Key) -> None:
    """Of the same list what reading takes."""
    allow(role, *ON_BUCKET, on=[bucket.bucket_arn])
    allow(role, *TO_READ, on=[bucket.arn_for_objects("*")])
    allow(role, "kms:Decrypt", "kms:DescribeKey", on=[key.key_arn])
