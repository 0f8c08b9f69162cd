"""The stacks of this repository, with all that a deployment can ask for, are created in the local cloud."""

import json
import time

import pytest
from filelock import FileLock

from infra.local.command import CONTEXT
from infra.local.deploy.synth import synthesise
from tests.local.deploying import deployed

# Between them, and with the one that all other tests use, they have every type that a setting can ask for.
SETTINGS = {
    "clinic": {
        **CONTEXT,
        "raki:alarm_email": "operator@example.org",
        "raki:monthly_budget_usd": "500",
        "raki:pacs": "ARCHIVE@127.0.0.1:1",
        "raki:share_protocol": "smb",
        "raki:smb_users": "@radiology",
    },
    "research": {
        "raki:audit_data_events": "true",
        "raki:gateway_on_ec2": "true",
        "raki:object_lock_days": "30",
        "raki:scratch": "fsx-persistent",
        "raki:share_clients": "10.1.0.0/16",
        "raki:warm_gpus": "1",
    },
}


@pytest.mark.parametrize("profile", SETTINGS)
def test_every_profile_is_deployed(profile, pytestconfig, tmp_path):
    out = pytestconfig.cache.mkdir(f"assembly-{profile}")
    with FileLock(out.with_suffix(".lock")):
        assembly = synthesise(out, context={"raki:profile": profile, **SETTINGS[profile]})
    with deployed(assembly, tmp_path) as service:
        stacks = service.client("cloudformation").describe_stacks()["Stacks"]
        assert {stack["StackStatus"] for stack in stacks} == {"CREATE_COMPLETE"}
        assert len(stacks) == len(list(assembly.glob("*.template.json")))
        assert {path.name for path in service.share.iterdir()} == {"raw", "results"}
        if "raki:pacs" in SETTINGS[profile]:
            hears_of_a_manifest(service)
        assert service.events("error") == []


def hears_of_a_manifest(service):
    """From the bucket by the rule and the queue to the sender's own process, which finds no images in it."""
    manifest = json.dumps({"scan_id": "none", "outcome": "failed", "files": []}).encode()
    bucket = service.outputs["ResultsBucket"]
    service.client("s3").put_object(Bucket=bucket, Key="a + b/ä%2F/manifest.json", Body=manifest)
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        lines = [line for log in (service.work / "logs").glob("ecs-*Sending*") for line in log.read_text().splitlines()]
        if "nothing to send" in [json.loads(line)["event"] for line in lines]:
            return
        time.sleep(0.2)
    raise AssertionError(f"the sender said: {lines}")
