"""What packages from outside add works everywhere; what is broken in them is named, and stops nothing else."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import h5py
import numpy as np
import pytest

from raki.errors import BrokenPlugin, DamagedScan
from raki.formats import open_raw

PAGE = (Path(__file__).parents[1] / "docs/plugins.md").read_text(encoding="utf-8")
RUN = "import sys; sys.argv[0] = 'raki'; from raki.cli import main; main()"

METHOD = """
import torch
from raki.kspace import SliceReport
from raki.kspace.uncertainty import UncertaintyMaps
from raki.planning import Method
def fill(kspace, acs, sampling, settings):
{fill}
def obstacles(*_):
{obstacles}
THING = Method(name={name!r}, label='x', fill=fill, obstacles=obstacles, seconds_a_slice=0.0)
"""
NONE = "    return iter(())"
BROKEN = {
    "unloadable": "raise OSError('no such library')",
    "wrong": "THING = 'no method'",
    "misnamed": "from my_mri.nearest import NEAREST as THING",
    "grappa": "from raki.planning import Method\n"
    "THING = Method(name='grappa', label='x', fill=None, obstacles=None, seconds_a_slice=0.0)",
    "raising": "from raki.planning import Method\n"
    "def fill(*_): return 1 / 0\n"
    "def obstacles(*_): return [][0]\n"
    "THING = Method(name='raising', label='Raising', fill=fill, obstacles=obstacles, seconds_a_slice=0.0)",
    "exiting_at_once": "import sys; sys.exit(3)",
    "exiting": METHOD.format(name="exiting", fill="    import sys\n    sys.exit(0)", obstacles="    raise SystemExit"),
    "chatty": "print('loaded')\n"
    + METHOD.format(
        name="chatty",
        fill="    print('filling')\n"
        "    answer = kspace.clone().conj().resolve_conj().requires_grad_().conj()\n"
        "    kspace.zero_(), acs.zero_()\n"
        "    return answer, SliceReport()",
        obstacles="    print('asked')\n    return iter(())",
    ),
    "no_numbers": METHOD.format(
        name="no_numbers", fill="    return kspace * float('nan'), SliceReport()", obstacles=NONE
    ),
    "double": METHOD.format(
        name="double", fill="    return kspace.to(torch.complex128), SliceReport()", obstacles=NONE
    ),
    "sparse": METHOD.format(name="sparse", fill="    return kspace.to_sparse(), SliceReport()", obstacles=NONE),
    "choosing": METHOD.format(name="choosing", fill="    return kspace, SliceReport(chosen='me')", obstacles=NONE),
    "mapping": METHOD.format(
        name="mapping",
        fill="    one = torch.ones(3, 3)\n"
        "    maps = UncertaintyMaps(g_factor=one, standard_error=one, structure_kept=one)\n"
        "    return kspace, SliceReport(maps=maps)",
        obstacles=NONE,
    ),
    "explaining": METHOD.format(
        name="explaining",
        fill="    from raki.kspace.explanation import EXPLANATION_PARTS, Explanation\n"
        "    parts = dict.fromkeys(EXPLANATION_PARTS, torch.full((32, 32), torch.inf))\n"
        "    return kspace, SliceReport(explanation=Explanation(**parts))",
        obstacles=NONE,
    ),
    "cropping": "from raki.planning import Method\n"
    "def fill(kspace, *_):\n"
    "    from raki.kspace import SliceReport\n"
    "    return kspace[1:], SliceReport()\n"
    "THING = Method(name='cropping', label='x', fill=fill, obstacles=lambda *_: iter(()), seconds_a_slice=0.0)",
}
BROKEN_FORMATS = {
    "unloadable_format": "import nothing_of_this_name",
    "blind": "from raki.formats import Format\n"
    "def recognises(start):\n"
    "    print('looking')\n"
    "    raise KeyError(0)\n"
    "THING = Format(name='Blind', suffixes=(), recognises=recognises, open=None)",
    "skewed": """
from contextlib import contextmanager
from dataclasses import dataclass, replace
import numpy as np
from my_mri import headed
ANSWERS = {
    "1": lambda one: one[:1],
    "2": lambda one: one.real,
    "3": lambda one: "no samples",
    "4": lambda one: one * np.float32("nan"),
    "5": lambda one: one[..., :-1],
}
@dataclass
class Skewed(headed.Lines):
    answer: object
    def samples(self, wanted):
        yield from map(self.answer, super().samples(wanted))
@contextmanager
def opened(path):
    with headed.opened(path) as lines:
        yield Skewed(lines.header_xml, lines.heads, lines.kspace, ANSWERS[chr(path.read_bytes()[7])])
THING = replace(headed.HEADED, name="Skewed", recognises=lambda start: start.startswith(b"SKEWED-"), open=opened)
""",
    "leaving": "import os, sys\n"
    "from contextlib import contextmanager\n"
    "from raki.formats import Format\n"
    "@contextmanager\n"
    "def opened(path):\n"
    "    print('leaving')\n"
    "    os._exit(0) if path.read_bytes()[5:6] == b'0' else sys.exit(0)\n"
    "    yield\n"
    "THING = Format(name='Leaving', suffixes=(), recognises=lambda start: start.startswith(b'LEAVE'), open=opened)",
    "torn": "from contextlib import contextmanager\n"
    "from raki.formats import Format\n"
    "@contextmanager\n"
    "def opened(path):\n"
    "    raise ZeroDivisionError\n"
    "    yield\n"
    "THING = Format(name='Torn', suffixes=(), recognises=lambda start: start.startswith(b'TORN'), open=opened)",
}


def installed(site, name, version, modules, points):
    """A package as an installer leaves it: modules, and what its metadata says of entry points."""
    for path, text in modules.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
    described = site / f"{name.replace('-', '_')}-{version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in some.items()) for group, some in points.items()
    ]
    (described / "entry_points.txt").write_text("\n".join(lines))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the package of the page, and one of which everything is broken."""
    site = tmp_path_factory.mktemp("site")
    blocks = dict(re.findall(r"^```(?:python|toml)\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    project = tomllib.loads(blocks.pop("pyproject.toml"))["project"]
    modules = {"my_mri/__init__.py": ""} | blocks
    installed(site, project["name"], project["version"], modules, project["entry-points"])
    broken = BROKEN | BROKEN_FORMATS
    modules = {"broken_mri/__init__.py": ""} | {f"broken_mri/{name}.py": text for name, text in broken.items()}
    points = {
        "raki.methods": {name: f"broken_mri.{name}:THING" for name in BROKEN},
        "raki.formats": {name: f"broken_mri.{name}:THING" for name in BROKEN_FORMATS},
    }
    installed(site, "z-broken-mri", "0.3", modules, points)
    return site


@pytest.fixture
def with_plugins(site, tmp_path):
    """Runs the command line in a process that has the packages; gives exit code, output and error output."""

    def run(*arguments):
        start = f"import sys; sys.path.append({str(site)!r}); {RUN}"
        ran = subprocess.run(
            [sys.executable, "-c", start, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )
        assert "Traceback" not in ran.stdout
        return ran.returncode, ran.stdout, " ".join(ran.stderr.replace("│", " ").split())

    return run


def test_a_method_from_outside_is_asked_for_as_any_other(with_plugins, raw, tmp_path):
    code, _, said = with_plugins("reconstruct", raw, "-o", tmp_path / "out", "--method", "nearest")
    assert code == 0, said
    facts = json.loads((tmp_path / "out/provenance.json").read_text())
    assert (facts["method"], facts["method_from"]) == ("nearest", {"package": "my-mri", "version": "1.2.0"})
    assert "Nearest line" in (tmp_path / "out/report.html").read_text()


def test_inspect_lists_what_can_be_used_and_names_once_what_cannot(with_plugins, raw):
    code, out, said = with_plugins("inspect", raw, "--json")
    assert code == 0, said
    by_name = {one["method"]: one for one in json.loads(out)["feasibility"]["methods"]}
    assert by_name["nearest"]["usable"]
    assert by_name["grappa"]["usable"]
    assert "IndexError in z-broken-mri 0.3" in by_name["raising"]["reason"]
    assert "SystemExit in z-broken-mri 0.3" in by_name["exiting"]["reason"]
    assert not by_name.keys() & {"unloadable", "wrong", "misnamed"}
    for sentence in (
        "'unloadable' of z-broken-mri 0.3 is left out: loading it failed (OSError)",
        "'wrong' of z-broken-mri 0.3 is left out: it is a str where a Method is needed",
        "'misnamed' of z-broken-mri 0.3 is left out: my-mri 1.2.0 has one called nearest, which stays",
        "'grappa' of z-broken-mri 0.3 is left out: raki-mri",
        "'unloadable_format' of z-broken-mri 0.3 is left out: loading it failed (ModuleNotFoundError)",
    ):
        assert said.count(sentence) == 1, (sentence, said)


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("unloadable", "can't be used: loading it failed (OSError)"),
        ("wrong", "can't be used: it is a str where a Method is needed"),
        ("raising", "failed with ZeroDivisionError at raising.py:2"),
        ("exiting_at_once", "can't be used: loading it failed (SystemExit)"),
        ("exiting", "failed with SystemExit at exiting.py"),
        ("no_numbers", "gave samples that are no numbers"),
        ("double", "gave no complex64 tensor on the CPU"),
        ("sparse", "gave a sparse tensor"),
        ("choosing", "gave a report with a choice between candidates"),
        ("mapping", "gave a map g_factor that is no float32 tensor of shape (32, 32)"),
        ("explaining", "gave a map leaned_16 with pixels that are no numbers"),
        ("cropping", "gave k-space of shape (2, 32, 32) for one of (3, 32, 32)"),
    ],
)
def test_a_broken_method_that_is_asked_for_is_one_sentence(with_plugins, raw, tmp_path, method, says):
    code, _, said = with_plugins("reconstruct", raw, "-o", tmp_path / "out", "--method", method)
    assert (code, "BrokenPlugin: The method" in said) == (BrokenPlugin.exit_code, True), said
    assert says in said
    assert "Traceback" not in said
    assert f"{method} of z-broken-mri 0.3" in said
    assert not (tmp_path / "out").exists()


def test_what_a_method_prints_and_what_it_does_to_its_input_is_its_own_matter(with_plugins, raw, tmp_path):
    images = []
    for method in ("zero_filled", "chatty"):
        code, out, said = with_plugins("reconstruct", raw, "-o", tmp_path / method, "--method", method)
        assert code == 0, said
        assert all(line.startswith(str(tmp_path / method)) for line in out.splitlines())
        with h5py.File(tmp_path / method / "image.h5") as file:
            images.append(file["dataset/image_0/data"][:])
    assert "filling" in said
    np.testing.assert_array_equal(*images)


def in_my_format(raw, magic):
    """A scan as the page's package reads it."""
    with open_raw([raw]) as (_, lines):
        kept = lines.heads["flags"] != lines.heads["flags"][0]  # without the noise, which has another length
        heads, samples = lines.heads[kept], np.stack(list(lines.samples(np.flatnonzero(kept))))
        header = lines.header_xml.encode()
    sizes = np.array([len(header), *samples.shape], "<u4")
    return magic + sizes.tobytes() + header + heads.tobytes() + samples.astype("<c8").tobytes()


def test_a_format_from_outside_is_read_in_the_sandbox(with_plugins, raw, tmp_path):
    (tmp_path / "scan.mymri").write_bytes(in_my_format(raw, b"MY-MRI-1"))
    code, out, said = with_plugins("inspect", tmp_path / "scan.mymri", "--json")
    assert code == 0, said
    found = json.loads(out)
    assert (found["format"], found["feasibility"]["reconstructable"]) == ("My MRI", True)


def test_a_format_that_fails_is_named(with_plugins, tmp_path):
    (tmp_path / "scan.torn").write_bytes(b"TORN" + bytes(5000))
    code, _, said = with_plugins("inspect", tmp_path / "scan.torn")
    assert code == DamagedScan.exit_code
    assert "format Torn of z-broken-mri 0.3 failed with ZeroDivisionError" in said


@pytest.mark.parametrize(
    ("how", "exit_code", "says"),
    [
        ("0", DamagedScan.exit_code, "brought its process down"),
        ("1", DamagedScan.exit_code, "format Leaving of z-broken-mri 0.3 failed with SystemExit"),
    ],
)
def test_a_format_that_ends_its_process_ends_no_other(with_plugins, tmp_path, how, exit_code, says):
    (tmp_path / "scan.leaving").write_bytes(b"LEAVE" + how.encode() + bytes(5000))
    code, out, said = with_plugins("inspect", tmp_path / "scan.leaving", "--json")
    assert says in said, (code, out, said)
    assert code == exit_code
    assert "Traceback" not in said


@pytest.mark.parametrize("answer", ["one coil", "real parts", "no samples", "not a number", "fewer samples"])
def test_a_format_that_gives_other_samples_than_it_announced_fails_alone(with_plugins, raw, tmp_path, answer):
    number = 1 + ["one coil", "real parts", "no samples", "not a number", "fewer samples"].index(answer)
    (tmp_path / "scan.skewed").write_bytes(in_my_format(raw, f"SKEWED-{number}".encode()))
    code, _, said = with_plugins("reconstruct", tmp_path / "scan.skewed", "-o", tmp_path / "out", "--method", "grappa")
    assert "Traceback" not in said
    assert code == DamagedScan.exit_code, said
    assert not (tmp_path / "out").exists()
