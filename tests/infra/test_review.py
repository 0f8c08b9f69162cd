"""What a security officer and CloudFormation would say of every profile's templates."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra.acknowledgements import ACKNOWLEDGED
from infra.deployment import PROFILES
from infra.gateway.needs import REGIONS
from infra.local.deploy.left_out import LEFT_OUT
from infra.storage.needs import HEALTHIMAGING_REGIONS
from tests.infra.conftest import DEPLOYMENTS

# Another logical id would be another, empty resource.
KINDS_WITH_DATA = (
    "AWS::S3::Bucket",
    "AWS::KMS::Key",
    "AWS::DynamoDB::Table",
    "AWS::SQS::Queue",
    "AWS::ECR::Repository",
    "AWS::HealthImaging::Datastore",
    "AWS::Backup::BackupVault",
    "AWS::SecretsManager::Secret",
)


LINTED = ("us-east-1", "us-west-2", "eu-central-1", "ap-southeast-2")
OFFERED = {
    "AWS::HealthImaging::Datastore": HEALTHIMAGING_REGIONS,
    "AWS::StorageGateway::NFSFileShare": REGIONS,
    "AWS::StorageGateway::SMBFileShare": REGIONS,
}


def test_every_profile_is_reviewed():
    assert set(DEPLOYMENTS) == set(PROFILES)


def test_the_rule_packs_find_nothing_that_isnt_acknowledged(reviewed):
    assert reviewed.findings == []


def test_every_acknowledgement_is_still_needed_and_says_why(all_reviewed):
    used = set().union(*(reviewed.acknowledged for reviewed in all_reviewed.values()))
    stale = [(entry.rule, entry.where) for entry in ACKNOWLEDGED if (entry.rule, entry.why) not in used]
    assert not stale
    assert all(len(entry.why.split()) >= 2 for entry in ACKNOWLEDGED)


def test_cloudformation_would_take_the_templates_in_four_regions(all_reviewed):
    """But for what a region lacks, which the stacks say at their deployment themselves."""
    # W3005: the CDK writes dependencies that follow from references already.
    program = str(Path(sys.executable).parent / "cfn-lint")
    command = [program, "--ignore-checks", "W3005", "--format", "json", "--regions", *LINTED, "--"]
    templates = [
        str(path) for reviewed in all_reviewed.values() for path in sorted(reviewed.folder.glob("*.template.json"))
    ]
    finished = subprocess.run([*command, *templates], capture_output=True, text=True, check=False)
    lacking = {
        f"Resource type '{kind}' does not exist in '{region}'"
        for kind, regions in OFFERED.items()
        for region in LINTED
        if region not in regions
    }
    assert {finding["Message"] for finding in json.loads(finished.stdout)} == lacking


def test_what_holds_data_keeps_its_logical_id_and_outlives_its_stack(all_reviewed):
    pinned = json.loads(Path(__file__).with_name("stateful.json").read_text())
    found = {}
    for reviewed in all_reviewed.values():
        for stack, template in reviewed.templates.items():
            for name, resource in template["Resources"].items():
                # Notices are worth nothing after a minute, a guest's password nothing without its share.
                if resource["Type"] in KINDS_WITH_DATA and "Notices" not in name and "Guest" not in name:
                    found.setdefault(stack, {})[name] = resource["Type"]
                    assert resource["Type"] == "AWS::SQS::Queue" or resource["DeletionPolicy"] == "Retain", name
    assert found == pinned


@pytest.mark.parametrize("stack", ["RakiStorage", "RakiGateway"])
def test_what_holds_data_is_protected_from_termination(all_reviewed, stack):
    manifest = json.loads((all_reviewed["research"].folder / "manifest.json").read_text())
    assert manifest["artifacts"][stack]["properties"]["terminationProtection"] is True


def test_buckets_and_queues_have_different_keys_and_speak_tls_only(reviewed):
    template = reviewed.templates["RakiStorage"]["Resources"].values()
    buckets = [found["Properties"] for found in template if found["Type"] == "AWS::S3::Bucket"]
    of_data = [bucket for bucket in buckets if "LoggingConfiguration" in bucket and _key(bucket)]
    queues = [found["Properties"] for found in template if found["Type"] == "AWS::SQS::Queue"]
    assert len(of_data) == (4 if "raki:healthimaging" in DEPLOYMENTS[reviewed.folder.name] else 3)
    assert not {_key(bucket) for bucket in of_data} & {queue["KmsMasterKeyId"]["Fn::GetAtt"][0] for queue in queues}
    for bucket in buckets:
        assert all(bucket["PublicAccessBlockConfiguration"].values())
    policies = [found for found in template if found["Type"] in ("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy")]
    assert len(policies) == len(buckets) + len(queues)
    for policy in policies:
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        assert any(one["Effect"] == "Deny" and "SecureTransport" in json.dumps(one) for one in statements)


def test_the_locals_table_of_left_out_types_names_what_is_deployed(all_reviewed):
    """No reason stands for a type that no template has any more."""
    deployed = {
        resource["Type"]
        for reviewed in all_reviewed.values()
        for template in reviewed.templates.values()
        for resource in template["Resources"].values()
    }
    assert set(LEFT_OUT) - deployed == set()


def _key(bucket):
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    key = rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID")
    return key and key["Fn::GetAtt"][0]
