"""The CDK's real command line, pinned, against the local cloud: what `cdk deploy` would send to AWS is accepted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.synth import cdk_environment
from raki.service.ledger import State

from .running import running

REPOSITORY = Path(__file__).parents[1]
# The newest tag on the package index is older in its schema and refuses the library's assembly.
PINNED = "aws-cdk@2.1148.1"
GATEWAY_ARN = "arn:aws:storagegateway:us-east-1:123456789012:gateway/sgw-12345678"


@pytest.fixture(scope="module")
def cdk(tmp_path_factory):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not here")
    folder = tmp_path_factory.mktemp("cdk")
    install = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), PINNED]
    if subprocess.run(install, check=False).returncode:
        pytest.skip(f"npm could not install {PINNED}")
    return folder / "node_modules/.bin/cdk"


def test_bootstrap_and_deploy_by_the_real_command_line(cdk, tmp_path):
    with running(tmp_path, "--empty") as service:
        environment = cdk_environment() | {
            "AWS_ENDPOINT_URL": service.endpoint,
            "AWS_REGION": "us-east-1",
            "CDK_DOCKER": shutil.which("true"),  # images are built at deployment; here is no engine to build them
        }

        def run(*command: str) -> None:
            options = ["--output", str(tmp_path / "cdk.out"), "-c", f"raki:gateway_arn={GATEWAY_ARN}"]
            application = ["--app", f"{sys.executable} app.py"]
            finished = subprocess.run(
                [cdk, *command, *application, *options],
                cwd=REPOSITORY, env=os.environ | environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert finished.returncode == 0, finished.stdout + finished.stderr

        run("bootstrap", "aws://123456789012/us-east-1")
        run("deploy", "--all", "--require-approval", "never")

        stacks = service.client("cloudformation").describe_stacks()["Stacks"]
        done = {stack["StackName"]: stack["StackStatus"] for stack in stacks}
        assert {name: done[name] for name in ("RakiStorage", "RakiPipeline")} == {
            "RakiStorage": "CREATE_COMPLETE",
            "RakiPipeline": "CREATE_COMPLETE",
        }
        (tmp_path / "letter.h5").write_text("Dear grandma,")
        service.drop(tmp_path / "letter.h5", "letter.h5")
        assert service.wait_for_end("letter.h5").state is State.FAILED
        assert (service.wait_for_results("letter") / "error.html").exists()
