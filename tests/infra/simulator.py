"""A simulator of IAM by other people, where it can be had: whether each request is allowed."""

import json
import shutil
import subprocess

import pytest

from infra.local.deploy.synth import cdk_environment

SIMULATOR = "@cloud-copilot/iam-simulate@0.1.173"
SCRIPT = """
const { runSimulation } = require("@cloud-copilot/iam-simulate");
const everything = { Version: "2012-10-17", Statement: [{ Effect: "Allow", Action: "*", Resource: "*" }] };
async function decide(one) {
  const found = await runSimulation({
    request: {
      principal: one.principal,
      action: one.action,
      resource: { resource: one.resource, accountId: one.account },
      contextVariables: one.context,
    },
    identityPolicies: one.identity ? [{ name: "its own", policy: one.identity }]
      : one.byItsOwnPolicies ? [{ name: "everything", policy: everything }] : [],
    serviceControlPolicies: [],
    resourceControlPolicies: [],
    resourcePolicy: one.policy,
    vpcEndpointPolicies: one.endpoint ? [{ name: "endpoint", policy: one.endpoint }] : undefined,
  }, {});
  if (found.resultType === "error") throw new Error(JSON.stringify(found.errors));
  return found.overallResult === "Allowed";
}
const cases = JSON.parse(require("fs").readFileSync(0, "utf8"));
Promise.all(cases.map(decide)).then((decided) => console.log(JSON.stringify(decided)));
"""


def install(folder):
    """Into an empty folder; a test that can't have it is skipped."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), SIMULATOR]
    try:
        failed = subprocess.run(command, capture_output=True, check=False, timeout=120).returncode
    except subprocess.TimeoutExpired:
        failed = True
    if failed:
        pytest.skip(f"npm could not install {SIMULATOR}")
    (folder / "simulate.cjs").write_text(SCRIPT, encoding="ascii")


def decide(folder, cases):
    """Of each case, as the script reads it, whether it is allowed."""
    environment = cdk_environment()
    finished = subprocess.run(
        [environment["JSII_NODE"], str(folder / "simulate.cjs")],
        cwd=folder,
        env=environment,
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)
