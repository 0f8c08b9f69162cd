"""Each service of AWS gets of the keys what its guide says that it needs, and nobody else anything."""

import json

import pytest

from infra.deployment import Deployment
from tests.infra.conftest import DEPLOYMENTS
from tests.infra.key_policies import (
    ACCOUNT,
    ACTIONS,
    ELSEWHERE,
    FSX_ROLE,
    GROUP,
    NEEDS,
    QUEUE,
    REGION,
    ROOT,
    TOPIC,
    TRAIL,
    Request,
    allows,
    encryption,
    key_policies,
    resolved,
    seen,
)
from tests.infra.policies import as_list


def is_on(need, deployment):
    """Whether a deployment has what this need is for."""
    return {
        "": True,
        "audit_data_events": deployment.audit_data_events,
        "fsx": deployment.scratch != "nvme",
        "healthimaging": deployment.healthimaging == "new",
    }[need.setting]


def deployment_of(reviewed):
    profile = reviewed.folder.name
    return Deployment.from_context({"raki:profile": profile, **DEPLOYMENTS[profile]})


@pytest.mark.parametrize("need", NEEDS, ids=[need.guide for need in NEEDS])
def test_a_service_may_do_what_its_guide_says_it_needs(all_reviewed, need):
    asked = 0
    for reviewed in all_reviewed.values():
        if is_on(need, deployment_of(reviewed)):
            policy = key_policies(reviewed.templates["RakiStorage"])[need.key]
            requests = list(need.requests())
            assert requests
            assert [request for request in requests if not allows(policy, request)] == []
            asked += 1
    assert asked, "one of the deployments has it"


def foreign(arn):
    return arn.replace(ACCOUNT, ELSEWHERE)


OTHERS = {
    "another account's trail": (
        "DataKey",
        "cloudtrail.amazonaws.com",
        encryption("aws:cloudtrail:arn", foreign(TRAIL)),
    ),
    "a trail that says nothing": ("DataKey", "cloudtrail.amazonaws.com", {}),
    "another account's log group": (
        "OperationsKey",
        f"logs.{REGION}.amazonaws.com",
        encryption("aws:logs:arn", foreign(GROUP)),
    ),
    "the logs of another region": ("OperationsKey", "logs.eu-west-1.amazonaws.com", encryption("aws:logs:arn", GROUP)),
    "alarms of another account's topic": (
        "OperationsKey",
        "cloudwatch.amazonaws.com",
        encryption("aws:sns:topicArn", foreign(TOPIC)),
    ),
    "alarms that fill a queue": ("OperationsKey", "cloudwatch.amazonaws.com", encryption("aws:sqs:arn", QUEUE)),
    "another account": ("DataKey", foreign(ROOT), {}),
    "another account's FSx": (
        "DataKey",
        f"arn:aws:iam::{ELSEWHERE}:{FSX_ROLE}",
        {"aws:PrincipalArn": f"arn:aws:iam::{ELSEWHERE}:{FSX_ROLE}", "kms:CallerAccount": ELSEWHERE},
    ),
    "a role that is called as FSx's": (
        "DataKey",
        f"arn:aws:iam::{ACCOUNT}:role/AWSServiceRoleForFSxS3Access_fs-1",
        {
            "aws:PrincipalArn": f"arn:aws:iam::{ACCOUNT}:role/AWSServiceRoleForFSxS3Access_fs-1",
            "kms:CallerAccount": ACCOUNT,
        },
    ),
    "the data, to who fills queues": ("DataKey", "s3.amazonaws.com", encryption("aws:sqs:arn", QUEUE)),
}


@pytest.mark.parametrize(("key", "principal", "context"), OTHERS.values(), ids=OTHERS)
def test_nobody_else_may_use_a_key(all_reviewed, key, principal, context):
    """At most a service of AWS may learn that the key is there, and its state."""
    for reviewed in all_reviewed.values():
        policy = key_policies(reviewed.templates["RakiStorage"])[key]
        given = {action for action in ACTIONS if allows(policy, Request(principal, action, context))}
        assert given <= ({"kms:DescribeKey"} if principal.endswith(".amazonaws.com") else set())


def test_what_isnt_asked_for_is_admitted_nowhere(all_reviewed):
    """Without audits no CloudTrail, without FSx no role of it, without a data store of our own no HealthImaging."""
    for reviewed in all_reviewed.values():
        policies = key_policies(reviewed.templates["RakiStorage"])
        for need in NEEDS:
            if not is_on(need, deployment_of(reviewed)):
                assert not any(allows(policies[need.key], request) for request in need.requests()), need.guide


def test_no_statement_waits_for_a_context_that_never_comes(all_reviewed):
    """A statement on DescribeKey with a condition on the encryption context is dead, however good it looks."""
    for reviewed in all_reviewed.values():
        for policy in key_policies(reviewed.templates["RakiStorage"]).values():
            for statement in policy["Statement"]:
                keys = {key for tests in statement.get("Condition", {}).values() for key in tests}
                if "kms:DescribeKey" in as_list(statement["Action"]):
                    assert not any(key.startswith("kms:EncryptionContext:") for key in keys), statement


def test_volumes_that_a_fleet_starts_have_no_key_that_its_roles_cant_use(all_reviewed):
    """EC2 Auto Scaling User Guide, "Required AWS KMS key policy for use with encrypted volumes".

    The roles that start Batch's instances are admitted by AWS's own key for EBS, which the templates leave the volumes
    to; none of ours admits them. The gateway's instance isn't started by a fleet, but by who deploys.
    """
    for reviewed in all_reviewed.values():
        for template in reviewed.templates.values():
            for resource in template["Resources"].values():
                if resource["Type"] == "AWS::EC2::LaunchTemplate":
                    devices = resource["Properties"]["LaunchTemplateData"].get("BlockDeviceMappings", [])
                    assert not [one for one in devices if "KmsKeyId" in one.get("Ebs", {})]


def test_a_simulator_of_iam_comes_to_the_same(all_reviewed, simulate):
    """Of principals, actions and conditions.

    What of its context a call has is our own table's (`seen`). The simulator knows no keys of an encryption context,
    drops them, and so refuses AWS's own examples; it is given them by the name of another key that anything may follow.
    """
    cases, expected = [], []
    for reviewed in all_reviewed.values():
        policies = key_policies(reviewed.templates["RakiStorage"])
        calls = [
            (need.key, need.principal, need.context, request.action) for need in NEEDS for request in need.requests()
        ]
        calls += [(*other, action) for other in OTHERS.values() for action in ("kms:Decrypt", "kms:DescribeKey")]
        for key, principal, context, action in calls:
            cases.append(
                {
                    "policy": resolved(policies[key]),
                    "principal": principal,
                    "action": action,
                    "context": seen(action, context),
                    "account": ACCOUNT,
                    "resource": f"arn:aws:kms:{REGION}:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef",
                    "byItsOwnPolicies": principal == ROOT,
                }
            )
            expected.append(allows(policies[key], Request(principal, action, seen(action, context))))
    decided = simulate(json.loads(json.dumps(cases).replace("kms:EncryptionContext:", "aws:PrincipalTag/")))
    assert [case for case, ours, theirs in zip(cases, expected, decided, strict=True) if ours != theirs] == []
    assert {True, False} == set(expected)
