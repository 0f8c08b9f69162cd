"""The data perimeter: through an endpoint this account reaches its own, and a service speaks for this account alone.

The requests are put to a simulator of IAM by other people, which knows endpoints' policies. Without it, what the
policies say is still held by their text.
"""

import json

import pytest

from infra.network.perimeter import OPEN
from tests.infra.key_policies import ACCOUNT, ELSEWHERE, REGION, resolved
from tests.infra.policies import as_list

OWN_ROLE, FOREIGN_ROLE = (f"arn:aws:iam::{account}:role/worker" for account in (ACCOUNT, ELSEWHERE))
OF_ECR = "999999999999"
"""AWS's own account that signs the URLs of layers; which it is, nobody outside says."""
NAME, ID = "raki", "0123456789abcdef"
# Of each service an action that goes through its endpoint, and what it is done to, in an account.
CALLS = {
    "dynamodb": ("dynamodb:GetItem", "arn:aws:dynamodb:{region}:{account}:table/raki"),
    "ecr.api": ("ecr:BatchGetImage", "arn:aws:ecr:{region}:{account}:repository/raki"),
    "ecr.dkr": ("ecr:GetDownloadUrlForLayer", "arn:aws:ecr:{region}:{account}:repository/raki"),
    "ecs": ("ecs:UpdateTaskProtection", "arn:aws:ecs:{region}:{account}:task/raki/0123456789abcdef"),
    "ecs-agent": ("ecs:Poll", "arn:aws:ecs:{region}:{account}:container-instance/raki/0123456789abcdef"),
    "ecs-telemetry": (
        "ecs:StartTelemetrySession",
        "arn:aws:ecs:{region}:{account}:container-instance/raki/0123456789abcdef",
    ),
    "logs": ("logs:PutLogEvents", "arn:aws:logs:{region}:{account}:log-group:raki:log-stream:one"),
    "s3": ("s3:PutObject", "arn:aws:s3:::raki-{account}/scan.h5"),
    "sagemaker.api": ("sagemaker:StopNotebookInstance", "arn:aws:sagemaker:{region}:{account}:notebook-instance/raki"),
    "secretsmanager": ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:{region}:{account}:secret:raki-AbCdEf"),
    "sqs": ("sqs:SendMessage", "arn:aws:sqs:{region}:{account}:raki"),
}
EXCEPTIONS = {
    "layers of images": ("s3:GetObject", f"arn:aws:s3:::prod-{REGION}-starport-layer-bucket/layer", OF_ECR),
    "packages of Amazon Linux": ("s3:GetObject", f"arn:aws:s3:::al2023-repos-{REGION}-de612dc2/core.rpm", "anonymous"),
    "answers to CloudFormation": (
        "s3:PutObject",
        "arn:aws:s3:::cloudformation-custom-resource-response-useast1/answer",
        OF_ECR,
    ),
}


def whole(value):
    """A template's value as it is here, the region without its dashes too."""
    text = json.dumps(value)
    split = json.dumps({"Fn::Join": ["", {"Fn::Split": ["-", {"Ref": "AWS::Region"}]}]})
    return resolved(json.loads(text.replace(split, json.dumps(REGION.replace("-", "")))))


def endpoints(all_reviewed):
    """The service and the policy of every endpoint of every deployment."""
    for profile, reviewed in all_reviewed.items():
        for stack, template in reviewed.templates.items():
            for name, resource in template["Resources"].items():
                if resource["Type"] == "AWS::EC2::VPCEndpoint":
                    found = resource["Properties"]
                    service = whole(found["ServiceName"]).removeprefix(f"com.amazonaws.{REGION}.")
                    yield f"{profile} {stack} {name}", service, whole(found.get("PolicyDocument"))


def request(policy, action, resource, *, principal=OWN_ROLE, asks=ACCOUNT, owner=ACCOUNT):
    """A call through an endpoint, that everything else allows."""
    allowed = [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]
    return {
        "endpoint": policy,
        "principal": principal,
        "action": action,
        "resource": resource,
        "account": owner,
        "context": {
            "aws:PrincipalAccount": asks,
            "aws:ResourceAccount": owner,
            "aws:SourceVpce": "vpce-0123456789abcdef0",
            "aws:SourceVpc": "vpc-0123456789abcdef0",
        },
        "byItsOwnPolicies": True,
        "policy": {"Version": "2012-10-17", "Statement": allowed},
    }


def test_every_endpoint_has_the_perimeter_but_the_one_that_is_named(all_reviewed):
    services = {service: policy for _, service, policy in endpoints(all_reviewed)}
    assert set(services) == {*CALLS, *OPEN}
    for where, service, policy in endpoints(all_reviewed):
        if service in OPEN:
            assert policy is None, where
            continue
        own, *others = policy["Statement"]
        both = {"aws:PrincipalAccount": ACCOUNT, "aws:ResourceAccount": ACCOUNT}
        assert (own["Effect"], own["Condition"]) == ("Allow", {"StringEquals": both}), where
        # What else there is names each bucket, and is S3's alone.
        assert not others or service == "s3", where
        for other in others:
            assert not [one for one in as_list(other["Resource"]) if one.partition(":::")[2].startswith("*")], where


def test_own_is_reached_by_own_and_nothing_else_by_anybody(all_reviewed, simulate):
    cases, expected = [], []
    seen = {service: policy for _, service, policy in endpoints(all_reviewed) if service not in OPEN}
    for service, policy in seen.items():
        action, pattern = CALLS[service]
        for asks, principal in ((ACCOUNT, OWN_ROLE), (ELSEWHERE, FOREIGN_ROLE)):
            for owner in (ACCOUNT, ELSEWHERE):
                resource = pattern.format(region=REGION, account=owner)
                cases.append(request(policy, action, resource, principal=principal, asks=asks, owner=owner))
                expected.append(asks == owner == ACCOUNT)
    for action, resource, asks in EXCEPTIONS.values():
        signer = f"arn:aws:iam::{OF_ECR}:role/signer"
        cases.append(request(seen["s3"], action, resource, principal=signer, asks=asks, owner=OF_ECR))
        expected.append(True)
        # For what the exception is made, and for nothing else there.
        other = "s3:DeleteObject"
        cases.append(request(seen["s3"], other, resource, principal=signer, asks=asks, owner=OF_ECR))
        expected.append(False)
    decided = simulate(cases)
    assert [case for case, ours, theirs in zip(cases, expected, decided, strict=True) if ours != theirs] == []
    assert len(cases) == 4 * len(CALLS) + 2 * len(EXCEPTIONS)


def policies(all_reviewed, kind):
    for profile, reviewed in all_reviewed.items():
        for template in reviewed.templates.values():
            for name, resource in template["Resources"].items():
                if resource["Type"] == kind:
                    yield f"{profile} {name}", resource["Properties"]["PolicyDocument"]


SERVICES = {"AWS::S3::BucketPolicy": "s3:PutObject", "AWS::SQS::QueuePolicy": "sqs:SendMessage"}


@pytest.mark.parametrize("kind", SERVICES)
def test_no_service_fills_a_bucket_or_a_queue_for_another_account(all_reviewed, simulate, kind):
    """Even where the policy let the service in without a question; for its own account it still may."""
    action = SERVICES[kind]
    resource = "arn:aws:s3:::raki/key" if kind == "AWS::S3::BucketPolicy" else f"arn:aws:sqs:{REGION}:{ACCOUNT}:raki"
    cases, expected, places = [], [], []
    for where, document in policies(all_reviewed, kind):
        denied = [
            {**whole(one), "Resource": "*"}
            for one in document["Statement"]
            if one.get("Sid") == "ServicesForThisAccount"
        ]
        assert len(denied) == 1, where
        let_in = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": action, "Resource": "*"}
        for source, allowed in ((ACCOUNT, True), (ELSEWHERE, False), (None, True)):
            context = {"aws:PrincipalIsAWSService": "true"} | ({"aws:SourceAccount": source} if source else {})
            cases.append(
                {
                    "policy": {"Version": "2012-10-17", "Statement": [let_in, *denied]},
                    "principal": "s3.amazonaws.com",
                    "action": action,
                    "resource": resource,
                    "account": ACCOUNT,
                    "context": context,
                }
            )
            expected.append(allowed)
            places.append((where, source))
    decided = simulate(cases)
    wrong = [place for place, ours, theirs in zip(places, expected, decided, strict=True) if ours != theirs]
    assert wrong == []
    assert cases


def test_nobody_deletes_what_logs_hold(all_reviewed):
    """AWS lets lifecycle rules go on all the same: a policy of the bucket doesn't concern them."""
    for profile, reviewed in all_reviewed.items():
        for template in reviewed.templates.values():
            resources = template["Resources"]
            for name, bucket in resources.items():
                if bucket["Type"] != "AWS::S3::Bucket" or "Logs" not in name:
                    continue
                (policy,) = [
                    one["Properties"]["PolicyDocument"]["Statement"]
                    for one in resources.values()
                    if one["Type"] == "AWS::S3::BucketPolicy" and one["Properties"]["Bucket"] == {"Ref": name}
                ]
                (denied,) = [one for one in policy if one.get("Sid") == "NobodyDeletes"]
                assert (denied["Effect"], denied["Principal"]) == ("Deny", {"AWS": "*"}), (profile, name)
                assert set(denied["Action"]) == {"s3:DeleteObject", "s3:DeleteObjectVersion"}
                assert bucket["Properties"]["VersioningConfiguration"] == {"Status": "Enabled"}
                (rule,) = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
                assert (rule["ExpirationInDays"], rule["NoncurrentVersionExpiration"]["NoncurrentDays"]) == (400, 30)
