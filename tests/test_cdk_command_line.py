"""The CDK's real command line, pinned, against the local cloud: what `cdk deploy` would send to AWS is accepted."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.deploy.synth import cdk_environment
from raki.service.ledger import State
from tests.running import running

pytestmark = pytest.mark.timeout(900)

REPOSITORY = Path(__file__).parents[1]
# The newest tag on the package index is older in its schema and refuses the library's assembly.
PINNED = "aws-cdk@2.1148.1"


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
    """Deployed without a gateway, as `cdk.json` has it: the service works on the buckets alone."""
    with running(tmp_path, "--empty") as service:
        deployed = service.work / "cdk.deployed"
        assert not deployed.exists(), "nothing is synthesised that isn't asked for"
        environment = cdk_environment() | {
            "AWS_ENDPOINT_URL": service.endpoint,
            "AWS_REGION": "us-east-1",
            "CDK_DOCKER": shutil.which("true"),  # images are built at deployment; here is no engine to build them
        }

        def run(folder: Path, *command: str) -> None:
            finished = subprocess.run(
                [cdk, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert finished.returncode == 0, finished.stdout + finished.stderr

        run(tmp_path, "bootstrap", "aws://123456789012/us-east-1")
        application = ["--app", f"{sys.executable} app.py", "--output", str(deployed)]
        run(REPOSITORY, "deploy", "--all", "--require-approval", "never", *application)

        stacks = service.client("cloudformation").describe_stacks()["Stacks"]
        states = {stack["StackName"]: stack["StackStatus"] for stack in stacks}
        assert states["RakiStorage"] == states["RakiPipeline"] == "CREATE_COMPLETE"
        assert "FileShare" not in (deployed / "RakiPipeline.template.json").read_text()

        service.client("s3").put_object(Bucket=service.output("RawBucket"), Key="letter.h5", Body=b"Dear grandma,")
        assert service.wait_for_end("letter.h5").state is State.FAILED
        page = {"Bucket": service.output("ResultsBucket"), "Key": "letter/error.html"}
        assert b"could not be reconstructed" in service.client("s3").get_object(**page)["Body"].read()
