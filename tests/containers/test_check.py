"""A container's own check: what it imports, its settings, its scratch, and whether its libraries compute."""

from dataclasses import dataclass

import pytest
import torch

from containers import command_line
from containers.reconstruct import __main__ as reconstruct


@dataclass(frozen=True, kw_only=True)
class Settings:
    place: str


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.setenv("PLACE", "here")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["job", "--check"])

    def run(works=lambda: None):
        with pytest.raises(SystemExit) as ended:
            command_line.parse("job", "A job.", Settings, works=works)
        return ended.value.code

    return run


def test_a_check_passes_where_all_works_and_says_what_does_not(check, capsys):
    def fails():
        raise RuntimeError("no GPU can be used")

    assert check() == 0
    assert capsys.readouterr().err == ""
    assert check(fails) == 1
    assert "can't work here: no GPU can be used" in capsys.readouterr().err


def test_the_libraries_compute_on_this_machine(monkeypatch):
    monkeypatch.delenv("AWS_BATCH_JOB_ID", raising=False)
    reconstruct.works()


def test_a_batch_job_without_a_gpu_that_works_fails_its_check(monkeypatch):
    monkeypatch.setenv("AWS_BATCH_JOB_ID", "a-job")
    monkeypatch.setattr(reconstruct, "gpu_name", lambda: None)
    with pytest.raises(RuntimeError, match="no GPU can be used"):
        reconstruct.works()


def test_a_library_that_computes_wrongly_is_found(monkeypatch):
    monkeypatch.delenv("AWS_BATCH_JOB_ID", raising=False)
    monkeypatch.setattr(torch.fft, "ifft2", lambda values: values)
    with pytest.raises(RuntimeError, match="cpu computes wrongly"):
        reconstruct.works()
