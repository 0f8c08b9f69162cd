"""Who may do what, in every profile: `permissions.txt` beside this file is the whole list, for a reviewer to read.

After a wanted change: `python -m tests.infra.test_permissions FOLDER...` with the folders of assemblies prints it anew.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

from tests.infra.policies import permissions

LISTING = Path(__file__).with_name("permissions.txt")
GATEWAY = "DeliverySharesRawRole"
OPERATOR = "OperatorsRole"


def listed(text):
    """The listing's roles, each with its lines."""
    roles = defaultdict(set)
    for line in text.splitlines():
        if line.startswith("  "):
            roles[role].add(line.strip())  # noqa: F821 - a role stands before its lines
        elif line:
            role = line
            roles[role] = set()
    return dict(roles)


def written(roles):
    """The listing of these roles."""
    return (
        "\n\n".join("\n".join([role, *(f"  {line}" for line in sorted(roles[role]))]) for role in sorted(roles)) + "\n"
    )


def together(all_templates):
    """Every role of several deployments, with all that it may do in any of them."""
    roles = defaultdict(set)
    for templates in all_templates:
        for role, lines in permissions(templates).items():
            roles[role] |= lines
    return roles


def test_each_role_may_do_exactly_what_is_listed(all_reviewed):
    found = together(reviewed.templates for reviewed in all_reviewed.values())
    assert written(found) == LISTING.read_text()


def test_what_differs_between_deployments_is_the_share_warm_instances_models_and_where_results_are_sent(all_reviewed):
    roles = listed(LISTING.read_text())
    for reviewed in all_reviewed.values():
        for role, lines in permissions(reviewed.templates).items():
            missing = {
                line
                for line in roles[role] - lines
                if not re.search("RefreshCache|(Send|Import)Queue$|ReconstructionWarm$|raki-models", line)
            }
            # The evaluation gateway's password is there with SMB only, the trail with audits only.
            assert not missing, role


def test_no_role_can_delete_a_raw_scan_and_only_the_gateway_writes_one(reviewed):
    for role, lines in permissions(reviewed.templates).items():
        on_raw = {line.partition(" ")[0] for line in lines if line.partition(" on ")[2].startswith("Raw")}
        # In a bucket with versions it hides the object behind a marker: see the role in infra/gateway/shares.py.
        hides = {"s3:DeleteObject"} if role == GATEWAY else set()
        assert {action for action in on_raw if "Delete" in action or "*" in action} == hides & on_raw, role
        assert "s3:PutObject" not in on_raw or role in (GATEWAY, OPERATOR), role
        assert not {action for action in on_raw if "Lifecycle" in action or "BypassGovernance" in action}, role


def test_the_decompression_role_reads_no_result(reviewed):
    reads = {
        line.partition(" on ")[2]
        for line in permissions(reviewed.templates)["DecompressionTaskRole"]
        if line.startswith(("s3:Get", "s3:Select"))
    }
    # A manifest says which files an earlier run wrote; a new run takes those away that it doesn't write itself.
    assert reads == {"Raw/*", "Results/*/manifest.json"}


def test_everything_is_allowed_by_name(reviewed):
    """`*` only where AWS knows no resource; never a whole family of actions."""
    without_resource = (
        "batch:DescribeComputeEnvironments",
        "batch:DescribeJobQueues",
        "batch:DescribeJobs",
        "batch:ListJobs",
        "ecr:GetAuthorizationToken",
        "ecs:DiscoverPollEndpoint",
        "servicequotas:GetServiceQuota",
        "storagegateway:ActivateGateway",
    )
    for role, lines in permissions(reviewed.templates).items():
        for line in lines:
            action, _, resource = line.partition(" on ")
            assert "*" not in action, (role, line)
            network_interface = action.startswith("ec2:") and role == "ActivationHandlerRole"
            assert resource != "*" or action in without_resource or network_interface, (role, line)


def test_the_operators_role_has_what_the_guide_says_that_an_operator_needs():
    """And nothing beside it: who has a role of their own finds the same list there."""
    guide = (LISTING.parents[2] / "infra/README.md").read_text().partition("### Operators")[2].partition("\n## ")[0]
    needed = set(re.findall(r"`([a-z0-9]+:[A-Z][A-Za-z]+)`", guide)) - {"sts:AssumeRole"}
    assert needed == {line.partition(" on ")[0] for line in listed(LISTING.read_text())[OPERATOR]}


def test_jobs_read_the_models_of_the_place_that_is_named_and_no_other_role_does(all_reviewed):
    roles = permissions(all_reviewed["research"].templates)
    reads = {role: {line for line in lines if "raki-models" in line} for role, lines in roles.items()}
    bucket = "arn:Partition:s3:::raki-models"
    assert reads.pop("ReconstructionJobRole") == {f"s3:GetObject on {bucket}/clinic/*", f"s3:ListBucket on {bucket}"}
    assert not any(reads.values())
    assert "raki-models" not in str(permissions(all_reviewed["clinic"].templates))


def test_the_compaction_writes_the_catalogue_alone_and_reads_no_image(all_reviewed):
    lines = permissions(all_reviewed["research"].templates)["CompactionTaskRole"]
    reads = {line.partition(" on ")[2] for line in lines if line.startswith("s3:Get")}
    changes = {line.partition(" on ")[2] for line in lines if line.startswith(("s3:Put", "s3:Delete", "s3:Abort"))}
    assert reads == {"Results/*/catalogue.jsonl", "Results/raki-catalogue/*"}
    assert changes == {"Results/raki-catalogue/*"}


def test_a_key_of_the_data_is_used_through_a_service(reviewed):
    for role, lines in permissions(reviewed.templates).items():
        if not role.startswith("DeliveryShares"):  # the gateway's guide lists its own uses
            for line in lines:
                assert not line.startswith("kms:") or " via " in line, (role, line)


if __name__ == "__main__":
    folders = [Path(argument) for argument in sys.argv[1:]]
    templates = [
        {path.name: json.loads(path.read_text()) for path in folder.glob("*.template.json")} for folder in folders
    ]
    print(written(together(templates)), end="")  # noqa: T201
