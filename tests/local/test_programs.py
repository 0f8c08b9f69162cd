"""No program outlives the local cloud, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.journal import LogStream
from infra.local.run.programs import Programs
from tests.local.conftest import eventually

LOG = LogStream(group="programs", stream="one")
STUBBORN = """
import signal, subprocess, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "1000"])
print(child.pid, flush=True)
time.sleep(1000)
"""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def child_of(log: Path) -> int | None:
    text = log.read_text() if log.exists() else ""
    return int(text) if text.endswith("\n") else None


def test_even_a_stubborn_program_and_its_children_end(tmp_path):
    lines = []
    programs = Programs(tmp_path, lambda log, line: lines.append((log, line)))
    program = programs.start("one", [sys.executable, "-c", STUBBORN], {}, tmp_path, LOG)
    child = eventually(lambda: child_of(tmp_path / "one.log"))
    assert is_running(child)
    programs.close()
    assert lines == [(LOG, str(child))]
    assert program.exit_code == 128 + signal.SIGKILL
    assert not is_running(program.process.pid)
    assert not is_running(child)
    with pytest.raises(RuntimeError, match="closing"):
        programs.start("two", ["true"], {}, tmp_path, LOG)


def test_a_kill_of_the_cloud_itself_leaves_nothing(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from infra.local.journal import LogStream\n"
        "from infra.local.run.programs import Programs\n"
        f"programs = Programs(Path({str(tmp_path)!r}), lambda *_: None)\n"
        "log = LogStream(group='g', stream='s')\n"
        f"one = programs.start('one', [sys.executable, '-c', {STUBBORN!r}], {{}}, Path({str(tmp_path)!r}), log)\n"
        "print(one.process.pid, flush=True); time.sleep(1000)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as cloud:
        program = int(cloud.stdout.readline())
        child = eventually(lambda: child_of(tmp_path / "one.log"))
        assert is_running(program)
        assert is_running(child)
        os.kill(cloud.pid, signal.SIGKILL)
    eventually(lambda: not is_running(program) and not is_running(child))
