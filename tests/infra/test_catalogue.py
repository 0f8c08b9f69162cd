"""The catalogue for Athena: its tables are the schema's, a question has its limit, and its reader reads no more."""

import pytest

from infra.catalogue.stack import ATHENA_TYPES, TABLES
from infra.deployment import Deployment, SettingsError
from infra.storage.stack import RECONSTRUCTED
from raki.catalogue.rows import LABELS, SLICES
from tests.infra.key_policies import ACCOUNT
from tests.infra.policies import as_list, permissions


@pytest.fixture(scope="module")
def template(all_reviewed):
    return all_reviewed["research"].templates["RakiCatalogue"]


def of(template, kind):
    return [found["Properties"] for found in template["Resources"].values() if found["Type"] == kind]


def test_there_is_none_unless_it_is_asked_for(all_reviewed):
    assert "RakiCatalogue" not in all_reviewed["minimal"].templates
    assert "RakiCatalogue" not in all_reviewed["clinic"].templates


def test_tables_have_the_columns_of_the_files_in_their_folders(template):
    tables = {found["TableInput"]["Name"]: found["TableInput"] for found in of(template, "AWS::Glue::Table")}
    for name, schema in (("slices", SLICES), ("labels", LABELS)):
        columns = {one["Name"]: one["Type"] for one in tables[name]["StorageDescriptor"]["Columns"]}
        assert list(columns) == schema.names
        assert columns == {column.name: ATHENA_TYPES[column.type] for column in TABLES[name]}
        location = tables[name]["StorageDescriptor"]["Location"]["Fn::Join"][1]
        assert location[-1] == f"/raki-catalogue/{name}"
        parameters = tables[name]["Parameters"]
        template_of_month = parameters["storage.location.template"]["Fn::Join"][1]
        assert template_of_month[-1] == f"/raki-catalogue/{name}/month=${{month}}", "as compaction writes it"
        assert parameters["projection.enabled"] == "true"
        assert [key["Name"] for key in tables[name]["PartitionKeys"]] == ["month"]
        assert "month" not in columns


def test_a_question_has_a_limit_that_no_client_lifts_and_answers_are_encrypted(template):
    (workgroup,) = of(template, "AWS::Athena::WorkGroup")
    configuration = workgroup["WorkGroupConfiguration"]
    assert configuration["BytesScannedCutoffPerQuery"] == 10 * 10**9
    assert configuration["EnforceWorkGroupConfiguration"] is True
    result = configuration["ResultConfiguration"]
    assert result["EncryptionConfiguration"]["EncryptionOption"] == "SSE_KMS"
    assert "DataKey" in result["EncryptionConfiguration"]["KmsKey"]["Fn::ImportValue"]


def test_who_reads_it_reads_no_raw_scan_no_image_and_no_name_of_a_folder(template):
    glue = ("GetDatabase", "GetPartitions", "GetTable", "GetTables")
    asked = ("GetQueryExecution", "GetQueryResults", "GetWorkGroup", "StartQueryExecution", "StopQueryExecution")
    here = "Region:AccountId"
    assert permissions({"RakiCatalogue": template})["Researchers"] == {
        "s3:GetObject on Results/raki-catalogue/*",
        "s3:ListBucket on Results StringLike s3:prefix raki-catalogue/*",
        "s3:GetObject on Prepared/* StringEquals s3:ExistingObjectTag/raki reconstructed",
        "s3:ListBucket on Prepared",
        "s3:GetObject on Answers/*",
        "s3:ListBucket on Answers",
        "s3:GetBucketLocation on Answers",
        "s3:PutObject on Answers/*",
        "s3:AbortMultipartUpload on Answers/*",
        "kms:Decrypt on DataKey via s3",
        "kms:GenerateDataKey on DataKey via s3",
        *(f"athena:{action} on arn:Partition:athena:{here}:workgroup/raki-catalogue" for action in asked),
        *(
            f"glue:{action} on arn:Partition:glue:{here}:{what}"
            for action in glue
            for what in (
                "catalog",
                "database/raki_catalogue",
                "table/raki_catalogue/slices",
                "table/raki_catalogue/labels",
            )
        ),
    }  # fmt: skip


def test_readers_without_a_catalogue_are_refused():
    with pytest.raises(SettingsError, match="raki:catalogue has to ask for"):
        Deployment.from_context({"raki:researchers": "arn:aws:iam::123456789012:role/research"})


def test_a_prepared_scan_is_read_once_its_result_is_delivered_and_not_before(template, simulate):
    """Put to a simulator of IAM by other people, where it can be had."""
    (role,) = [one for one in of(template, "AWS::IAM::Policy") if "Researchers" in str(one["Roles"])]
    statements = [
        {**one, "Resource": "arn:aws:s3:::prepared/*"}
        for one in role["PolicyDocument"]["Statement"]
        if as_list(one["Action"]) == ["s3:GetObject"] and "Prepared" in str(one["Resource"])
    ]
    assert statements
    cases = [
        {
            "identity": {"Version": "2012-10-17", "Statement": statements},
            "principal": f"arn:aws:iam::{ACCOUNT}:role/research",
            "action": "s3:GetObject",
            "resource": "arn:aws:s3:::prepared/scans/one.h5",
            "account": ACCOUNT,
            "context": {f"s3:ExistingObjectTag/{key}": value for key, value in tags.items()},
        }
        for tags in ({"raki": "reconstructed"}, {}, {"raki": "other"}, {"another": "reconstructed"})
    ]
    assert simulate(cases) == [True, False, False, False]


def test_nobody_but_the_job_that_has_delivered_sets_that_tag(all_reviewed):
    """As `raki.service.objects.tag_reconstructed` writes it, which the buckets' lifecycles wait for too."""
    assert RECONSTRUCTED == {"raki": "reconstructed"}
    for reviewed in all_reviewed.values():
        setters = {
            role
            for role, lines in permissions(reviewed.templates).items()
            for line in lines
            if line.startswith(("s3:PutObjectTagging on Prepared", "s3:PutObjectVersionTagging on Prepared"))
        }
        assert setters == {"ReconstructionJobRole"}
