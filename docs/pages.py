"""What `mkdocs.yml` can't say: which files of the repository the site is made of, and the page of the Python reference.

Every page keeps its path in the repository, so that a link that works there works on the site. A file that pages link
to and that is none of them, as a list that is reviewed, is copied beside them.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from griffe import Docstring, Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import raki

REPOSITORY = Path(__file__).parents[1]
PAGES = ("*.md", "docs/**/*.md", "infra/README.md", "benchmarks/README.md")
STYLE = REPOSITORY / "docs/site.css"
REFERENCE = "docs/reference.md"
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
EXAMPLE = re.compile(r"(?:^>>> .*\n(?:^(?!\s*$).*\n?)*)", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The theme's own files, the repository's pages, and what these link to."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    pages = [page for pattern in PAGES for page in sorted(REPOSITORY.glob(pattern))]
    for path in dict.fromkeys([*pages, *linked_files(pages), STYLE]):
        files.append(File.generated(config, path.relative_to(REPOSITORY).as_posix(), abs_src_path=str(path)))
    files.append(File.generated(config, REFERENCE, content=reference()))
    return files


def linked_files(pages: list[Path]) -> Iterator[Path]:
    """The files of the repository that pages link to."""
    for page in pages:
        for target in LINK.findall(page.read_text(encoding="utf-8")):
            path = (page.parent / target).resolve()
            if path.is_file() and path.is_relative_to(REPOSITORY):
                yield path


def reference() -> str:
    """A page with every public name of the library, explained by its docstring."""
    introduction = (raki.__doc__ or "").partition("\n\n")[2]
    return "\n\n".join(["# Python reference", introduction, *(f"::: raki.{name}" for name in raki.__all__)])


class Examples(Extension):
    """Examples in docstrings, as doctest runs them, are blocks of code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Fences the examples of one docstring."""
        if isinstance(obj.docstring, Docstring):
            text = obj.docstring.value + "\n"
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", text)
