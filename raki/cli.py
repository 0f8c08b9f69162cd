"""The command line: the commands of the library, and what other packages add (`raki local`)."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

import typer
from rich.markup import escape

from raki.commands.comparing import compare
from raki.commands.files import convert, inspect
from raki.commands.identities import deidentify, reidentify
from raki.commands.images import reconstruct, simulate
from raki.commands.raw_files import CONSOLE
from raki.errors import RakiError

app = typer.Typer(
    name="raki",
    help="MRI reconstruction with a network trained on the one scan at hand. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (reconstruct, inspect, compare, convert, deidentify, reidentify, simulate):
    app.command()(command)


def main() -> None:
    """Entry point: a known error is one sentence and its own exit code, never a traceback."""
    for plugin in plugins():
        app.command(name=plugin.name)(plugin.load())
    try:
        app()
    except RakiError as error:
        CONSOLE.print(f"[red]{error.failure_class}:[/red] {escape(error.sentence)}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def plugins() -> Iterator[EntryPoint]:
    """The commands that other packages add. Those of a checkout of the repository are named in every install of it."""
    for plugin in entry_points(group="raki.commands"):
        if find_spec(plugin.module.partition(".")[0]):
            yield plugin
