"""The container images, as far as they can be known without Docker: what their files say. See test_images_run.py."""

import json
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, entry_points, packages_distributions
from itertools import pairwise
from pathlib import Path

import grimp
import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from infra.sources import REPOSITORY, worker_health_check
from tests.infra.image_files import ALL, CUDA, asked_for, last, locked, read_dockerfile, requirements

TAKES_OF_A_FIRST_PAGE = {"compact": ("raki.catalogue.compaction",)}
"""Of one that loads a module when it is used, and has others that the image doesn't use."""
every_image = pytest.mark.parametrize("name", ALL)


@every_image
def test_an_image_installs_all_that_its_code_imports_and_no_more(name):
    graph = grimp.build_graph(
        *("raki", "containers"),
        include_external_packages=True,
        exclude_type_checking_imports=name in TAKES_OF_A_FIRST_PAGE,
        cache_dir=None,
    )
    reached = graph.find_upstream_modules(f"containers.{name}.__main__")
    for module in TAKES_OF_A_FIRST_PAGE.get(name, ()):
        reached |= {module} | graph.find_upstream_modules(module)
    if name in ("decompress", "serve"):  # these find the formats by their entry points
        for point in entry_points(group="raki.formats"):
            reached |= graph.find_upstream_modules(point.module)
    ours = {"raki", "containers", "compression"}  # the last is Python's own from 3.14 on, and "backports" before
    modules = {module for module in reached if "." not in module} - set(sys.stdlib_module_names) - ours
    direct = {one for one in asked_for(name) if not CUDA.match(one)}
    installed = packages_distributions()
    bringing = {
        # What isn't installed here is for another Python than this one, and known by its name alone.
        module: {canonicalize_name(one) for one in installed.get(module, [])}
        or {one for one in direct if one.split("-")[0] == module}
        for module in modules
    }
    assert [module for module, packages in bringing.items() if not packages & direct] == []
    assert direct <= set().union(*bringing.values())


@every_image
def test_an_image_has_the_versions_that_were_tested(name):
    tested = {one: str(found.specifier) for one, found in requirements("constraints.txt").items()}
    lock = locked(name)
    assert {one for one in lock.keys() & tested.keys() if lock[one] != tested[one]} == set()
    untested = {one for one in lock.keys() - tested.keys() if not CUDA.match(one)}
    assert untested <= {"setuptools"}, "constraints.txt lacks what an image installs"


def needed(name: str) -> set[str]:
    """All that the image's own imports need, by what the distributions that are installed here say of themselves."""
    version = re.search(r"/python:(3\.\d+)", read_dockerfile(name)[0][1])[1]
    place = {"python_version": version, "python_full_version": f"{version}.0", "platform_system": "Linux",
             "sys_platform": "linux", "os_name": "posix", "platform_python_implementation": "CPython"}  # fmt: skip

    def applies(marker: Marker | None, extra: str) -> bool:
        return marker is None or marker.evaluate({**place, "extra": extra})

    waiting = [(one, extra) for one, found in asked_for(name).items() for extra in ("", *found.extras)]
    reached = set()
    while waiting:
        one, asked_extra = waiting.pop()
        if (one, asked_extra) in reached:
            continue
        reached.add((one, asked_extra))
        try:
            declared = [Requirement(text) for text in distribution(one).requires or []]
        except PackageNotFoundError:
            continue  # it is for another Python than this one, and has to be in the lock all the same
        waiting += [(canonicalize_name(each.name), extra) for each in declared if applies(each.marker, asked_extra)
                    for extra in ("", *each.extras)]  # fmt: skip
    return {one for one, _ in reached}


@every_image
def test_a_lock_has_every_package_that_another_one_needs_and_no_more(name):
    superfluous = locked(name).keys() - needed(name)
    assert needed(name) - locked(name).keys() == set()
    assert {one for one in superfluous if not CUDA.match(one)} == set()
    assert not superfluous or "torch" in locked(name)


@every_image
def test_every_package_is_pinned_to_the_very_files(name):
    for path in (f"containers/{name}/requirements.txt", "containers/build-requirements.txt"):
        entries = re.findall(r"^[a-zA-Z](?:.*\\\n)*.*", (REPOSITORY / path).read_text(), re.MULTILINE)
        assert entries
        for entry in entries:
            assert re.match(r"[\w.-]+==[\w.]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\\n)?)+$", entry), entry
    installs = re.findall(
        r"pip install [^&]*", " ".join(rest for found, rest in read_dockerfile(name) if found == "RUN")
    )
    assert len(installs) == 3
    assert all("--require-hashes" in one or "--no-deps --target /site ." in one for one in installs)


def test_the_backend_that_builds_the_images_is_the_one_that_is_tested_here():
    pinned = requirements("containers/build-requirements.txt")["setuptools"].specifier
    assert str(pinned) == locked("reconstruct")["setuptools"]
    assert pinned.contains(distribution("setuptools").version)


@every_image
def test_a_lock_is_for_the_python_of_the_image(name):
    command = (REPOSITORY / f"containers/{name}/requirements.txt").read_text().splitlines()[1]
    version = re.search(r"--python-version (\S+)", command)[1]
    assert all(f"/python:{version}." in rest for found, rest in read_dockerfile(name) if "/python:" in rest)


def test_base_and_packages_are_of_one_cuda():
    (base,) = re.findall(r"^nvidia/cuda:([\d.]+)-base-ubuntu24.04@", last("reconstruct", "FROM"))
    lock = locked("reconstruct")
    assert lock["cuda-toolkit"] in (f"=={base}", f"=={base}.0")
    assert lock["cuda-bindings"] == f"=={base}"
    assert "cuda" not in last("decompress", "FROM")


@every_image
def test_a_base_is_one_image_for_ever(name):
    stages = {rest.rpartition(" AS ")[2] for found, rest in read_dockerfile(name) if " AS " in rest}
    bases = [rest.partition(" AS ")[0] for found, rest in read_dockerfile(name) if found == "FROM"]
    outer = [base for base in bases if base not in stages]
    assert outer
    for base in outer:
        assert re.fullmatch(r"[\w./]+:\d+\.\d+\.\d+-[\w.-]+@sha256:[0-9a-f]{64}", base)


@every_image
def test_official_images_come_from_a_registry_that_pulls_for_anybody(name):
    """Of Docker Hub only a publisher's own, which CUDA is."""
    stages = {rest.rpartition(" AS ")[2] for _, rest in read_dockerfile(name) if " AS " in rest}
    bases = {rest.partition(" AS ")[0] for found, rest in read_dockerfile(name) if found == "FROM"} - stages
    for base in bases:
        assert base.startswith(("public.ecr.aws/docker/library/", "nvidia/cuda:")), base


@every_image
def test_the_linter_of_dockerfiles_has_nothing_to_say(name):
    path = REPOSITORY / f"containers/{name}/Dockerfile"
    hadolint = Path(sys.executable).parent / "hadolint"
    command = [hadolint, "--failure-threshold", "style", path]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (0, "")
    lines = path.read_text().splitlines()
    for above, line in pairwise(lines):
        assert "hadolint ignore=" not in line or re.match(r"# \w.*\.$", above), f"{line} gives no reason"


@every_image
def test_a_container_is_nobody_and_writes_only_to_scratch(name):
    instructions = [found for found, _ in read_dockerfile(name)]
    assert last(name, "USER") == "10001:10001"
    assert not {"COPY", "ADD"} & set(instructions[instructions.index("USER") :])
    (volume,) = json.loads(last(name, "VOLUME"))
    environment = dict(pair.split("=") for pair in last(name, "ENV").split())
    assert environment["TMPDIR"] == environment["HOME"] == volume
    assert last(name, "WORKDIR") == environment["PYTHONPATH"], "what lies in scratch could be imported"
    python, *rest = json.loads(last(name, "ENTRYPOINT"))
    assert (python in ("python", "python3"), rest) == (True, ["-m", f"containers.{name}"])


def test_ecs_asks_for_the_health_that_docker_does():
    health = worker_health_check()
    options, _, command = last("decompress", "HEALTHCHECK").partition(" CMD ")
    python, flag, _ = json.loads(last("decompress", "ENTRYPOINT"))
    assert json.loads(command) == [python, flag, "containers.health"]
    assert health.command == ["CMD", *json.loads(command)]
    assert options.split() == [
        f"--interval={health.interval.to_seconds():g}s",
        f"--timeout={health.timeout.to_seconds():g}s",
        f"--start-period={health.start_period.to_seconds():g}s",
        f"--retries={health.retries:g}",
    ]


CUDA_GB = 8
"""Of torch's CUDA and its compiler, unpacked: an assumption above what they take, since they aren't installed here."""
BASE_GB = 0.5
"""Of an image's base, unpacked: an assumption."""
PULLED = 1.6
"""An image lies on the disk twice while it is pulled, once of these packed: of PyTorch's about three fifths."""
SYSTEM_GB = 30
"""What AWS's image for GPU instances has on the root volume."""


def unpacked_gb(name: str) -> float:
    """What is installed here of an image's packages, by the sizes that they record, and what isn't by assumption."""
    n_bytes = 0
    lacks_cuda = False
    for one in locked(name):
        try:
            record = distribution(one).read_text("RECORD") or ""
        except PackageNotFoundError:
            assert CUDA.match(one), one
            lacks_cuda = True
            continue
        n_bytes += sum(int(size) for line in record.splitlines() if (size := line.rpartition(",")[2]))
    return n_bytes / 1e9 + BASE_GB + (CUDA_GB if lacks_cuda else 0)


def test_every_image_fits_the_disk_that_it_is_pulled_to(all_reviewed):
    """On Fargate 20 GiB, the image among it, unless more is asked for: ECS Developer Guide, "Fargate storage"."""
    images = {"Worker": "decompress", "Job": "reconstruct", "Sender": "send", "Compactor": "compact"}
    seen = set()
    for reviewed in all_reviewed.values():
        found = reviewed.templates["RakiPipeline"]["Resources"].values()
        for task in [one["Properties"] for one in found if one["Type"] == "AWS::ECS::TaskDefinition"]:
            (container,) = task["ContainerDefinitions"]
            name = images[container["Name"]]
            disk_gib = task.get("EphemeralStorage", {}).get("SizeInGiB", 20)
            assert PULLED * unpacked_gb(name) < disk_gib * 1.074 - 5, name  # and some for what a scan takes
            seen.add(name)
        for template in [one["Properties"] for one in found if one["Type"] == "AWS::EC2::LaunchTemplate"]:
            data = template["LaunchTemplateData"]
            if "UserData" in data and len(data["BlockDeviceMappings"]) == 1:
                (root,) = data["BlockDeviceMappings"]
                assert PULLED * unpacked_gb("reconstruct") + SYSTEM_GB < root["Ebs"]["VolumeSize"]
                seen.add("instance")
    assert seen == {*images.values(), "instance"}
