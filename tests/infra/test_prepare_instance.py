"""The script runs as it is, with commands in its path that only write down how they are called."""

import os
import stat
import subprocess

import pytest

from infra.pipeline.instances import PREPARE

NVME_DISK = "/dev/nvme1n1 Amazon EC2 NVMe Instance Storage"
ROOT_DISK = "/dev/nvme0n1 Amazon Elastic Block Store"
CLOSE = "iptables --wait --insert OUTPUT --destination 169.254.169.254 --match owner --uid-owner 10001 --jump REJECT"
NVME_CALLS = (
    CLOSE,
    "lsblk --nodeps --noheadings --paths --output NAME,MODEL",
    "mkfs.xfs -f -q /dev/nvme1n1",
    "mkdir -p /mnt/nvme",
    "mount -t xfs -o nodev,noatime,nosuid /dev/nvme1n1 /mnt/nvme",
    "install --directory --owner=10001 --group=10001 --mode=0700 /mnt/nvme/scratch",
)
INSTALL = "dnf install --assumeyes --repo=amazonlinux lustre-client"
WAIT = "sleep 15"
SOURCE = "fs-1.example.org@tcp:/abcd"
MOUNT_LUSTRE = f"mount -t lustre -o relatime,flock {SOURCE} /fsx"
SHUTDOWN = "shutdown -h now"
COMMANDS = ("dnf", "install", "iptables", "lsblk", "mdadm", "mkdir", "mkfs.xfs", "mount", "shutdown", "sleep")
STUB = """#!/bin/bash
call="${0##*/} $*"
echo "$call" >>"$CALLS"
[[ $call == lsblk* ]] && echo "$DISKS"
[[ -n $FAILING && $call == "$FAILING"* ]] || exit 0
(($(grep -c "^$FAILING" "$CALLS") > FAILURES))
"""


@pytest.fixture
def prepare(tmp_path):
    """Runs the script; returns its exit status and the calls that it made."""
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    for command in COMMANDS:
        stub = stubs / command
        stub.write_text(STUB)
        stub.chmod(stub.stat().st_mode | stat.S_IXUSR)

    def run(source="", disks=(ROOT_DISK, NVME_DISK), failing="", failures=100):
        calls = tmp_path / "calls"
        environment = {
            "PATH": f"{stubs}:{os.defpath}",
            "CALLS": str(calls),
            "DISKS": "\n".join(disks),
            "FAILING": failing,
            "FAILURES": str(failures),
        }
        script = PREPARE.read_text().replace("@LUSTRE_SOURCE@", source)
        finished = subprocess.run(
            ["bash", "-c", script], capture_output=True, check=False, env=environment, text=True, timeout=30
        )
        return finished.returncode, calls.read_text().splitlines()

    return run


def test_the_instance_store_becomes_the_jobs_scratch(prepare):
    assert prepare() == (0, [*NVME_CALLS])


def test_fsx_is_mounted_beside_it(prepare):
    assert prepare(SOURCE) == (0, [*NVME_CALLS, INSTALL, "mkdir -p /fsx", MOUNT_LUSTRE])


def test_the_client_is_installed_again_when_the_repository_does_not_answer(prepare):
    status, calls = prepare(SOURCE, failing="dnf", failures=2)
    assert (status, calls) == (0, [*NVME_CALLS, INSTALL, WAIT, INSTALL, WAIT, INSTALL, "mkdir -p /fsx", MOUNT_LUSTRE])


@pytest.mark.parametrize(
    "failing", ["iptables", "lsblk", "mkfs.xfs", "mount -t xfs", "install", "dnf", "mount -t lustre"]
)
def test_an_instance_that_cannot_be_prepared_ends_itself_and_does_no_more(prepare, failing):
    status, calls = prepare(SOURCE, failing=failing)
    assert status != 0
    assert calls[-1] == SHUTDOWN
    assert calls.count(SHUTDOWN) == 1
    assert MOUNT_LUSTRE not in calls[:-2]
    assert len([call for call in calls if call.startswith(failing)]) == (10 if failing == "dnf" else 1)


def test_an_instance_without_a_disk_of_its_own_ends_itself(prepare):
    status, calls = prepare(disks=(ROOT_DISK,))
    assert status != 0
    assert calls == [*NVME_CALLS[:2], SHUTDOWN]


def test_several_disks_become_one(prepare):
    second = NVME_DISK.replace("nvme1", "nvme2")
    status, calls = prepare(disks=(ROOT_DISK, NVME_DISK, second))
    assert status == 0
    assert calls[2] == "mdadm --create /dev/md0 --run --level=0 --raid-devices=2 /dev/nvme1n1 /dev/nvme2n1"
    assert calls[3] == "mkfs.xfs -f -q /dev/md0"
    assert calls[5] == "mount -t xfs -o nodev,noatime,nosuid /dev/md0 /mnt/nvme"
