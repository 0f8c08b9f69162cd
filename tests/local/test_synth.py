"""Synthesis runs once for each state of its inputs."""

import pytest

from infra.local.deploy import synth

APP = """
import json, os, pathlib
out = pathlib.Path(os.environ["CDK_OUTDIR"])
(out / "manifest.json").write_text(os.environ["CDK_CONTEXT_JSON"])
(out / "runs").open("a").write("x")
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    root = tmp_path / "repository"
    for folder in ("infra/local", "lambdas", "containers", "raki"):
        (root / folder).mkdir(parents=True)
    (root / "app.py").write_text(APP)
    (root / "cdk.json").write_text('{"context": {"a": 1, "b": 2}}')
    (root / "pyproject.toml").write_text("")
    monkeypatch.setattr(synth, "REPOSITORY", root)
    return root


def n_runs(out):
    return len((out / "runs").read_text())


def test_only_a_change_of_an_input_is_synthesised_anew(repository, tmp_path):
    out = synth.synthesise(tmp_path / "out", context={"b": "other"})
    assert (out / "manifest.json").read_text() == '{"a": 1, "b": "other"}'
    (repository / "infra/local/engine.py").write_text("# no input of a template")
    (repository / ".venv").mkdir()
    (repository / ".venv/x.py").write_text("")
    synth.synthesise(out, context={"b": "other"})
    assert n_runs(out) == 1
    for n, change in enumerate(("raki/new.py", "lambdas/new.py", "infra/new.py", "app.py"), start=2):
        with (repository / change).open("a") as file:
            file.write("\n")
        synth.synthesise(out, context={"b": "other"})
        assert n_runs(out) == n
    synth.synthesise(out, context={"b": "yet another"})
    assert n_runs(out) == 6


def test_a_failed_synthesis_says_why_and_isnt_kept(repository, tmp_path):
    (repository / "app.py").write_text(APP + "raise SystemExit('the gateway has no name')")
    for _ in range(2):
        with pytest.raises(synth.SynthesisFailed, match="the gateway has no name"):
            synth.synthesise(tmp_path / "out")
