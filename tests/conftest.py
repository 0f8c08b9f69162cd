"""What all tests share: dummy AWS credentials, and the folder of real scans where there is one."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest
from botocore.client import BaseClient
from filelock import FileLock
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from infra.local.command import CONTEXT
from infra.local.deploy.synth import cdk_environment, synthesise
from raki import cli
from raki.phantom.simulation import simulate_scan
from tests.calls import LISTING, Calls, listed, watch

os.environ |= {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
}
# A profile or an endpoint of the developer's own must never reach a test.
for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
    os.environ.pop(name, None)

# One thread a process, said before PyTorch is loaded. The processes of a run share the cores, and the threads that
# share a small product wait for each other by spinning.
os.environ["OMP_NUM_THREADS"] = "1"

# The CDK runs on the Node that deploys with it, whichever other one is installed: that one may be slow or too old.
os.environ |= {name: value for name, value in cdk_environment().items() if name.startswith("JSII_")}

# The same examples at every run, and no clock: a busy machine fails no test.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")

# A run in the background of a shell ignores Ctrl-C's signal, and the services that it starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_SCANS = Path(__file__).parents[2] / "shared/data"

# These mostly wait for other processes. Begun first, they leave the cores to the rest.
WAITING = (
    "tests/test_end_to_end",
    "tests/test_benchmarks_chaos",
    "tests/local/",
    "tests/infra/",
    "tests/test_cdk_command_line",
    "tests/commands/test_cli",
)

# Their files share a cloud and the CDK's Node, which would be started in each process that gets one of them.
AS_ONE = ("tests/local/", "tests/infra/")


def pytest_collection_modifyitems(items) -> None:
    items.sort(key=lambda item: [not item.nodeid.startswith(name) for name in WAITING])


class FilesInOrder(LoadFileScheduling):
    """Each process takes the next file when it is through with one; those of `AS_ONE` are as one file."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in AS_ONE if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log) -> LoadFileScheduling | None:
    if config.getvalue("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False  # else xdist begins with the files of the most tests
    return FilesInOrder(config, log)


@pytest.fixture(scope="session")
def real_scans() -> Path:
    if not REAL_SCANS.is_dir():
        pytest.skip("the folder of real scans is not here")
    return REAL_SCANS


@pytest.fixture(scope="session")
def assembly(pytestconfig) -> Path:
    """The stacks, synthesised by the application as the command line runs it; anew when their sources changed.

    Kept from run to run, and shared by the processes of one run.
    """
    out = pytestconfig.cache.mkdir("assembly")
    with FileLock(out.with_suffix(".lock")):
        return synthesise(out, context=CONTEXT)


@pytest.fixture(scope="session")
def raw(tmp_path_factory) -> Path:
    """The raw scan of a small phantom, as a scanner writes it."""
    path = tmp_path_factory.mktemp("raw") / "scan.h5"
    simulate_scan(path, n_slices=2, n_coils=3, matrix=32, acceleration=2, n_acs_lines=8)
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line in this process; gives its exit code, output and error output."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["raki", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, re.sub(r"\s+", " ", said.err)

    return run


CALLS = Calls(listed(LISTING.read_text()))


@pytest.fixture(autouse=True, scope="session")
def watched():
    """Every call to AWS that the tests have code of the service make."""
    undo = watch(BaseClient, CALLS)
    yield
    undo()


@pytest.fixture(autouse=True)
def allowed(watched):
    """No program asks of AWS what its role may not ask."""
    yield
    refused, CALLS.refused = CALLS.refused, set()
    assert not refused, f"on AWS this would be refused: {'; '.join(sorted(refused))}"
