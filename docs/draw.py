"""Draws the tables of docs/architecture.md from the import contracts and what the folders say of themselves."""

import ast
import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PAGE = REPOSITORY / "docs/architecture.md"


def layers_of(container: str) -> list[list[str]]:
    """The layers of a package from the top down, as its import contract has them; those of one layer stand together."""
    contracts = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (found,) = (contract for contract in contracts if contract.get("containers") == [container])
    return [layer.split(" | ") for layer in found["layers"]]


def first_sentence(module: str) -> str:
    """What a folder or module says of itself."""
    place = REPOSITORY.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = " ".join((ast.get_docstring(ast.parse(file.read_text())) or "").split("\n\n")[0].split())
    return re.split(r"(?<=\.) (?=[A-Z])", text)[0].replace("|", "\\|")


def table(container: str) -> str:
    """The folders from the bottom up: each may import those above it in this table, and none below."""
    rows = [f"| {container.replace('.', '/')}/ | what it is |", "| --- | --- |"]
    for layer in reversed(layers_of(container)):
        for name in layer:
            is_folder = REPOSITORY.joinpath(*container.split("."), name).is_dir()
            rows.append(f"| `{name}{'/' if is_folder else '.py'}` | {first_sentence(f'{container}.{name}')} |")
    return "\n".join(rows)


def drawn(page: str) -> str:
    """The page with its tables drawn anew."""

    def redraw(found: re.Match[str]) -> str:
        return f"{found[1]}\n{table(found[2])}\n{found[3]}"

    return re.sub(r"(<!-- drawn: ([\w.]+) -->)\n.*?(<!-- end -->)", redraw, page, flags=re.DOTALL)


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text()))
    sys.stdout.write(f"{PAGE.relative_to(REPOSITORY)} is drawn from the import contracts\n")
