"""`raki serve` as a process: it says where it listens, logs no name, and ends on a signal with nothing left."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

from tests.running import RAKI
from tests.serving.client import Client, messages


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_end(raw, tmp_path, number):
    process = subprocess.Popen(
        [RAKI, "serve", "--port", "0", "--method", "zero_filled", "--at-once", "1", "--device", "cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    try:
        said = process.stderr.readline()
        port = int(re.search(r"Listening on 127\.0\.0\.1, port (\d+); no authentication\.", said)[1])
        client = Client(("127.0.0.1", port)).send(*messages(raw)).close()
        assert len(client.answer().images) == 2
        idle = Client(("127.0.0.1", port))
    finally:
        process.send_signal(number)
        out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    idle.socket.close()
    assert list(tmp_path.iterdir()) == []
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines if line["level"] == "INFO"] == ["received", "first image", "sent"]
    assert "phantom" not in out.lower()


def test_a_port_that_is_taken_is_said(run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, said = run("serve", "--port", taken.getsockname()[1])
    assert code == 2
    assert "take another" in said
