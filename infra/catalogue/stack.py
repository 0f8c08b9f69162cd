"""The catalogue for Athena: the files that `raki catalogue compact` writes into the results bucket, as tables.

Nothing of it runs while nobody asks. A table has a partition for each month, found by rule and not by a crawler: Amazon
Athena User Guide, "Use partition projection with Amazon Athena". Rows that compaction hasn't taken in aren't in it.
"""

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.deployment import Deployment
from infra.log_groups import log_bucket
from infra.permissions import allow, keep_to_account, read_objects, write_objects
from infra.storage.stack import RECONSTRUCTED, StorageStack
from raki.catalogue.schema import COLUMNS, LABEL_COLUMNS, Column

FOLDER = "raki-catalogue"
TABLES = {"slices": COLUMNS, "labels": LABEL_COLUMNS}
DATABASE = "raki_catalogue"
WORKGROUP = "raki-catalogue"
FIRST_MONTH = "2024-01"
ANSWERS_KEPT = Duration.days(30)
SESSION = Duration.hours(8)
# Amazon Athena User Guide, "Data types in Amazon Athena".
ATHENA_TYPES = {
    "VARCHAR": "string",
    "INTEGER": "int",
    "BIGINT": "bigint",
    "DOUBLE": "double",
    "BOOLEAN": "boolean",
    "VARCHAR[]": "array<string>",
    "DOUBLE[]": "array<double>",
    "FLOAT[32]": "array<float>",
}


class CatalogueStack(Stack):
    """Tables, a workgroup, a bucket for its answers, and a role that reads catalogue and prepared scans, never raw."""

    def __init__(self, scope: Construct, construct_id: str, *, storage: StorageStack, deployment: Deployment) -> None:
        super().__init__(scope, construct_id, description="raki: the catalogue for Athena")
        self.answers = self._answers_bucket(storage)
        self._database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=self.account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(name=DATABASE),
        )
        for name, columns in TABLES.items():
            self._table(name, columns, storage)
        self._workgroup = self._make_workgroup(storage, deployment)
        if deployment.researchers:
            self._make_role(storage, deployment.researchers)
        CfnOutput(self, "AthenaWorkgroup", value=WORKGROUP)

    def _table(self, name: str, columns: Sequence[Column], storage: StorageStack) -> None:
        location = f"s3://{storage.results.bucket_name}/{FOLDER}/{name}"
        parquet = "org.apache.hadoop.hive.ql.io.parquet"
        table = glue.CfnTable(
            self,
            name.capitalize(),
            catalog_id=self.account,
            database_name=DATABASE,
            table_input=glue.CfnTable.TableInputProperty(
                name=name,
                table_type="EXTERNAL_TABLE",
                parameters={
                    "classification": "parquet",
                    "projection.enabled": "true",
                    "projection.month.type": "date",
                    "projection.month.format": "yyyy-MM",
                    "projection.month.range": f"{FIRST_MONTH},NOW",
                    "projection.month.interval": "1",
                    "projection.month.interval.unit": "MONTHS",
                    "storage.location.template": location + "/month=${month}",
                },
                partition_keys=[glue.CfnTable.ColumnProperty(name="month", type="string")],
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    columns=[
                        glue.CfnTable.ColumnProperty(
                            name=column.name, type=ATHENA_TYPES[column.type], comment=column.meaning[:255]
                        )
                        for column in columns
                    ],
                    location=location,
                    input_format=f"{parquet}.MapredParquetInputFormat",
                    output_format=f"{parquet}.MapredParquetOutputFormat",
                    serde_info=glue.CfnTable.SerdeInfoProperty(
                        serialization_library=f"{parquet}.serde.ParquetHiveSerDe"
                    ),
                ),
            ),
        )
        table.add_resource_dependency(self._database)

    def _make_workgroup(self, storage: StorageStack, deployment: Deployment) -> athena.CfnWorkGroup:
        """What it says goes before what a client asks for: Athena User Guide, "Override client-side settings"."""
        configuration = athena.CfnWorkGroup.WorkGroupConfigurationProperty(
            bytes_scanned_cutoff_per_query=deployment.catalogue_limit_gb * 10**9,
            enforce_work_group_configuration=True,
            publish_cloud_watch_metrics_enabled=False,
            requester_pays_enabled=False,
            result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                    encryption_option="SSE_KMS", kms_key=storage.data_key.key_arn
                ),
                expected_bucket_owner=self.account,
                output_location=f"s3://{self.answers.bucket_name}/answers/",
            ),
        )
        return athena.CfnWorkGroup(
            self,
            "Workgroup",
            name=WORKGROUP,
            description="raki: questions to the catalogue",
            recursive_delete_option=True,
            work_group_configuration=configuration,
        )

    def _make_role(self, storage: StorageStack, arns: Sequence[str]) -> None:
        """Of prepared scans those that the catalogue has rows of: once a result is safe the job tags its prepared scan,
        which no other role may. Amazon S3 User Guide, "Tagging and access control policies", s3:ExistingObjectTag.

        Athena reads and writes in the name of who asks: Athena User Guide, "Control access to Amazon S3 from Athena"
        and "Configure access to databases and tables in the AWS Glue Data Catalog"."""
        role = iam.Role(
            self,
            "Researchers",
            assumed_by=iam.CompositePrincipal(*(iam.ArnPrincipal(arn) for arn in arns)),
            description="raki: reads the catalogue and prepared scans",
            max_session_duration=SESSION,
        )
        read_objects(role, storage.prepared, with_tag=RECONSTRUCTED)  # keys are scan ids
        # The catalogue's own keys alone: folders of results may be called after patients.
        allow(role, "s3:GetObject", on=[storage.results.arn_for_objects(f"{FOLDER}/*")])
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                conditions={"StringLike": {"s3:prefix": f"{FOLDER}/*"}},
                resources=[storage.results.bucket_arn],
            )
        )
        read_objects(role, self.answers)
        write_objects(role, self.answers)
        allow(role, "s3:GetBucketLocation", on=[self.answers.bucket_arn])
        workgroup = self.format_arn(service="athena", resource="workgroup", resource_name=WORKGROUP)
        allow(
            role,
            "athena:GetQueryExecution",
            "athena:GetQueryResults",
            "athena:GetWorkGroup",
            "athena:StartQueryExecution",
            "athena:StopQueryExecution",
            on=[workgroup],
        )
        catalogue = [
            self.format_arn(service="glue", resource="catalog"),
            self.format_arn(service="glue", resource="database", resource_name=DATABASE),
            *(self.format_arn(service="glue", resource="table", resource_name=f"{DATABASE}/{name}") for name in TABLES),
        ]
        allow(role, "glue:GetDatabase", "glue:GetPartitions", "glue:GetTable", "glue:GetTables", on=catalogue)
        CfnOutput(self, "ResearcherRole", value=role.role_arn)

    def _answers_bucket(self, storage: StorageStack) -> s3.Bucket:
        """What was answered, for a month. Who read it stands in a bucket beside it: the storage stack's would have to
        know this stack."""
        common: dict[str, Any] = {
            "block_public_access": s3.BlockPublicAccess.BLOCK_ALL,
            "enforce_ssl": True,
            "minimum_tls_version": 1.2,
            "object_ownership": s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            "removal_policy": RemovalPolicy.RETAIN,
        }
        answers = s3.Bucket(
            self,
            "Answers",
            bucket_key_enabled=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=storage.data_key,
            lifecycle_rules=[
                s3.LifecycleRule(abort_incomplete_multipart_upload_after=Duration.days(3), expiration=ANSWERS_KEPT)
            ],
            server_access_logs_bucket=log_bucket(self, "AccessLogs"),
            server_access_logs_prefix="answers/",
            **common,
        )
        keep_to_account(answers)
        return answers
