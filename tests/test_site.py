"""The documentation builds into pages without a warning and without a network, and its links lead somewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import raki

REPOSITORY = Path(__file__).parents[1]
LOADING = {"audio", "embed", "iframe", "img", "input", "link", "object", "script", "source", "track", "video"}
UNREACHABLE = "http://127.0.0.1:9"


class Page(HTMLParser):
    """What a page loads, what it links to, and the places that can be linked to in it."""

    def __init__(self, path):
        super().__init__()
        self.loads, self.links, self.anchors, self.styles = [], [], set(), []
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.anchors |= {found[name] for name in ("id", "name") if found.get(name)}
        targets = [found[name] for name in ("src", "href", "data", "srcset") if found.get(name)]
        if tag in LOADING:
            self.loads += targets
        elif tag == "a":
            self.links += targets
        self.styles.append(found.get("style") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as `make site` builds it; a request to anywhere would fail, and any warning ends the build."""
    folder = tmp_path_factory.mktemp("site")
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), UNREACHABLE)
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
        env=os.environ | proxies | {"NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def in_navigation(entry):
    """The paths of the pages that a part of the navigation names."""
    if isinstance(entry, str):
        return [entry]
    parts = entry if isinstance(entry, list) else entry.values()
    return [path for part in parts for path in in_navigation(part)]


def page_of(source):
    folder, _, name = source.rpartition("/")
    return Path(folder) / ("index.html" if name == "README.md" else name.replace(".md", ".html"))


def test_every_page_of_the_repository_is_in_the_navigation_and_is_built(site, pages):
    settings = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    named = in_navigation(yaml.safe_load(settings)["nav"])
    assert len(named) == len(set(named))
    for source in named:
        assert site / page_of(source) in pages, source
    written = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    written += [REPOSITORY / "infra/README.md", REPOSITORY / "benchmarks/README.md"]
    assert {path.relative_to(REPOSITORY).as_posix() for path in written} | {"docs/reference.md"} == set(named)


def test_no_page_asks_anything_of_the_network(site, pages):
    for path, page in pages.items():
        loaded = page.loads + re.findall(r"url\(([^)]*)\)", " ".join(page.styles))
        assert page.loads, path
        assert [target for target in loaded if urlsplit(target).scheme or target.startswith("//")] == [], path
        assert "mermaid" not in page.text, "the theme would fetch what draws it"
        assert "preconnect" not in page.text
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.findall(r"""(?:url\(|@import\s+)["']?(?:https?:)?//[^)"']*""", text), sheet


def test_every_link_within_the_site_leads_to_a_file_and_a_place_in_it(pages):
    n_followed = 0
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # shown at any address: its links begin at the root
        for target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            place = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            place = place / "index.html" if place.is_dir() else place
            assert place.is_file(), f"{path.name}: {target}"
            if parts.fragment and place in pages:
                assert unquote(parts.fragment) in pages[place].anchors | {"__top"}, f"{path.name}: {target}"
            n_followed += 1
    assert n_followed > 500


def test_the_reference_explains_every_public_name(site, pages):
    page = pages[site / "docs/reference.html"]
    for name in raki.__all__:
        assert page.anchors & {f"raki.{name}"}, name
    words = re.sub(r"<[^>]*>", "", page.text)
    for said in ("axes slice, coil, pe, ro", "simulate_scan(Path(", "Raises:"):
        assert said in words, said
    assert "&gt;&gt;&gt; import raki" in page.text or "import" in words
    assert "<blockquote>" not in page.text, "an example was taken for a quotation"


def test_what_pages_show_and_link_to_beside_themselves_is_there(site):
    for file in (".readme/preview.png", "infra/acknowledgements.py", "tests/infra/permissions.txt", "LICENSE"):
        assert (site / file).read_bytes() == (REPOSITORY / file).read_bytes()
