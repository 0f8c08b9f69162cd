"""Every call that the tests have a program make is one that its role may make; see `tests.calls`."""

import re
from types import SimpleNamespace

import pytest

from tests.calls import LISTING, Calls, listed, needed

ROLES = listed(LISTING.read_text())


def frame_of(module):
    return SimpleNamespace(f_globals={"__name__": module}, f_back=None)


def refused(roles, service, operation, parameters, module="containers.decompress.__main__"):
    calls = Calls(roles)
    calls.note(service, operation, parameters, frame_of(module))
    return calls.refused


def without(line, role="DecompressionTaskRole"):
    """The roles, one of them without a line of the listing."""
    action, _, resource = line.partition(" on ")
    assert resource in ROLES[role][action], "there is no such line"
    fewer = {name: set(places) - {resource} if name == action else places for name, places in ROLES[role].items()}
    return ROLES | {role: fewer}


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("s3:GetObject on Raw/*", ("s3", "HeadObject", {"Bucket": "t-raw"})),
        ("s3:PutObject on Prepared/*", ("s3", "UploadPart", {"Bucket": "t-prepared"})),
        ("s3:PutObjectVersionTagging on Raw/*", ("s3", "PutObjectTagging", {"Bucket": "t-raw", "VersionId": "1"})),
        ("dynamodb:PutItem on Ledger", ("dynamodb", "PutItem", {})),
        ("kms:GenerateDataKey on OperationsKey via sqs", ("sqs", "SendMessage", {})),
        ("kms:Decrypt on DataKey via s3", ("s3", "GetObject", {"Bucket": "t-raw"})),
    ],
)
def test_a_permission_that_is_taken_away_is_missed(line, call):
    assert not refused(ROLES, *call)
    (said,) = refused(without(line), *call)
    assert re.search(line.split(" on ", maxsplit=1)[0], said)


def test_a_permission_on_another_bucket_is_none():
    assert refused(ROLES, "s3", "PutObject", {"Bucket": "t-raw"}) == {
        "DecompressionTaskRole has no s3:PutObject on Raw"
    }


def test_what_a_test_does_by_itself_is_no_programs():
    assert not refused(ROLES, "s3", "DeleteBucket", {"Bucket": "t-raw"}, module="tests.service.test_versions")


def test_a_copy_reads_and_writes():
    found = needed("s3", "CopyObject", {"Bucket": "t-prepared", "CopySource": {"Bucket": "t-raw", "Key": "a"}})
    assert found == [("s3:PutObject", "Prepared"), ("s3:GetObject", "Raw")]
