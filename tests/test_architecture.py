"""The folders are the layers that the contracts say, entered by their first page, and drawn as they are."""

import re
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import grimp
import pytest

import raki
from docs import draw

# Types that every folder speaks, and what takes formats apart or writes them: these know the insides.
OPEN = {"scan", "service", "commands"}
INSIDERS_OF_FORMATS = {"identity", "export", "inspection", "phantom"}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("raki", cache_dir=None)


def folder(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_a_folder_is_entered_by_what_its_first_page_names(graph):
    entered = defaultdict(set)
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            if imported.count(".") > 1 and folder(importer) != folder(imported):
                entered[imported].add(importer)
    for imported, importers in entered.items():
        name = folder(imported)
        if name in OPEN or (name == "formats" and {folder(each) for each in importers} <= INSIDERS_OF_FORMATS):
            continue
        first_page = import_module(f"raki.{name}").__doc__
        assert f"`{imported}`" in first_page, f"{sorted(importers)} reach into raki/{name}: {imported}"


def test_what_a_first_page_names_is_there():
    for layer in draw.layers_of("raki"):
        for name in layer:
            module = import_module(f"raki.{name}")
            assert all(hasattr(module, public) for public in getattr(module, "__all__", []))
            for named in re.findall(r"`(raki\.[a-z_]+\.[a-z_.]+)`", module.__doc__):
                import_module(named)


def test_every_folder_says_what_it_is():
    for container in ("raki", "infra", "infra.local"):
        for layer in draw.layers_of(container):
            for name in layer:
                assert draw.first_sentence(f"{container}.{name}").endswith("."), f"{container}.{name}"


def test_the_page_shows_the_contracts_as_they_are():
    page = draw.PAGE.read_text()
    assert page == draw.drawn(page), "the contracts or a first sentence changed: make docs"


def test_every_path_that_the_page_names_is_there():
    for path in re.findall(r"`((?:raki|infra|lambdas|containers|tests)/[\w/.]+)`", draw.PAGE.read_text()):
        assert (Path(draw.REPOSITORY) / path).exists(), path


def test_the_public_interface_is_whole_and_loads_nothing_until_used():
    script = (
        "import raki, sys; assert not {'torch', 'numpy', 'h5py'} & set(sys.modules); "
        "assert all(callable(getattr(raki, name)) for name in raki.__all__); assert set(raki.__all__) <= set(dir(raki))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    with pytest.raises(AttributeError, match="complete_kspace"):
        raki.complete_kspce  # noqa: B018
