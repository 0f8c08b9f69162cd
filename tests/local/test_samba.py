"""The share by SMB, as Windows and macOS mount it: put and fetched with Samba's own client."""

import shutil
import subprocess

import pytest

from infra.local.run import samba

needs_samba = pytest.mark.skipif(
    not any(map(shutil.which, samba.SMBD)) or not shutil.which("smbclient"), reason="Samba is not installed"
)


@pytest.fixture
def shares(tmp_path):
    for name in ("raw", "results"):
        (tmp_path / "share" / name).mkdir(parents=True)
    (tmp_path / "share/results/report.html").write_text("the result")
    return tmp_path / "share"


def smbclient(port, share, commands, folder):
    return subprocess.run(
        ["smbclient", "-N", "-p", str(port), f"//127.0.0.1/{share}", "-c", commands],
        capture_output=True,
        check=False,
        cwd=folder,
        text=True,
        timeout=60,
    )


@needs_samba
def test_scans_are_put_and_results_fetched_and_nobody_writes_among_these(shares, tmp_path):
    (tmp_path / "Größe 1.h5").write_bytes(b"scan" * 1000)
    with samba.served(shares, ("raw",), ("results",), tmp_path / "samba", 0) as port:
        put = smbclient(port, "raw", 'put "Größe 1.h5"', tmp_path)
        assert put.returncode == 0, put.stdout
        assert (shares / "raw" / "Größe 1.h5").read_bytes() == b"scan" * 1000
        got = smbclient(port, "results", "get report.html got.html", tmp_path)
        assert got.returncode == 0, got.stdout
        assert (tmp_path / "got.html").read_text() == "the result"
        assert smbclient(port, "results", "del report.html", tmp_path).stdout.count("NT_STATUS_ACCESS_DENIED")
        assert smbclient(port, "results", "put got.html", tmp_path).returncode != 0
        assert (shares / "results/report.html").exists()
    assert smbclient(port, "raw", "ls", tmp_path).returncode != 0, "it ends with the block"


def test_where_samba_is_missing_that_is_said(shares, tmp_path, monkeypatch):
    monkeypatch.setattr(samba, "SMBD", ("no-such-program",))
    with (
        pytest.raises(samba.NoSamba, match="smbd, which is not installed: on Debian, apt-get install samba"),
        samba.served(shares, ("raw",), ("results",), tmp_path / "samba", 0),
    ):
        pass


def test_one_that_does_not_start_is_a_sentence(shares, tmp_path, monkeypatch):
    monkeypatch.setattr(samba, "SMBD", ("false",))
    with (
        pytest.raises(samba.NoSamba, match="smbd has not started on port"),
        samba.served(shares, ("raw",), ("results",), tmp_path / "samba", 0),
    ):
        pass
