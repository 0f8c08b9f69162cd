"""The command line: the commands of the library, and what other packages add (`raki local`)."""

import gc
import sys
from collections.abc import Collection, Iterator
from importlib.metadata import EntryPoint, entry_points, version
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.markup import escape

from raki.commands.cataloguing import catalogue
from raki.commands.comparing import compare
from raki.commands.converting import convert
from raki.commands.identities import deidentify, reidentify
from raki.commands.images import reconstruct, simulate
from raki.commands.inspecting import inspect
from raki.commands.models import app as models
from raki.commands.operating import NotInstalled, cancel, logs, retry, show, status, submit
from raki.commands.raw_files import CONSOLE
from raki.commands.reproducing import reproduce
from raki.commands.sending import send
from raki.commands.serving import serve
from raki.errors import RakiError
from raki.plugins import OURS

OBJECTS_BETWEEN_SEARCHES = 100_000
"""A command begins by loading tens of thousands, none of them garbage; Python would search 700 at a time."""

app = typer.Typer(
    name="raki",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (reconstruct, inspect, compare, convert, deidentify, reidentify, reproduce, send, serve, simulate)
for command in COMMANDS:
    app.command()(command)
app.add_typer(models)
for of_the_operator in (status, show, logs, submit, retry, cancel):
    app.command(rich_help_panel="Operating the service")(of_the_operator)


app.add_typer(catalogue, name="catalogue")


def _show_version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(f"raki {version('raki-mri')}")
        raise typer.Exit


@app.callback()
def about(
    _version: Annotated[
        bool | None, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which version this is.")
    ] = None,
) -> None:
    """MRI reconstruction with a network trained on the one scan at hand. For research use only."""


def main() -> None:
    """Entry point: a known error is one sentence and its own exit code, never a traceback."""
    gc.set_threshold(OBJECTS_BETWEEN_SEARCHES)
    own = {"catalogue", "models", *(command.__name__ for command in COMMANDS)}
    try:
        if not own.intersection(sys.argv[1:2]):
            add_plugins(own, sys.argv[1:2])
        need_a_checkout(sys.argv[1:2])
        app()
    except RakiError as error:
        CONSOLE.print(f"[red]{error.failure_class}:[/red] {escape(error.sentence)}", highlight=False)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def add_plugins(own: Collection[str], asked: Collection[str] = ()) -> None:
    """Adds the commands of other packages; a broken one is named and left out, and none takes the place of our own.

    Raises:
        NotInstalled: it is the one that was asked for, and lacks a package.
    """
    for plugin in plugins():
        if plugin.name in own:
            why = "raki has a command of that name"
        else:
            try:
                app.command(name=plugin.name)(plugin.load())
                continue
            except ModuleNotFoundError as error:
                why = f"it needs the package {error.name}{_brought_by(plugin)}"
                if plugin.name in asked:
                    raise NotInstalled(f"the command raki {plugin.name} is not to be had: {why}") from None
            except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever somebody else's module raises
                why = f"it can't be loaded: {type(error).__name__}"
        CONSOLE.print(
            f"The command {escape(plugin.name)} of {escape(plugin.module)} is left out; {escape(why)}.", highlight=False
        )


def _brought_by(plugin: EntryPoint) -> str:
    is_ours = plugin.dist is not None and plugin.dist.name == OURS
    return ", which pip install --editable '.[local]' in the checkout installs" if is_ours else ""


def need_a_checkout(asked: Collection[str]) -> None:
    """Says of a command that the wheel names and does not hold where to have it from.

    Raises:
        NotInstalled: the command's code is in a checkout of the repository alone.
    """
    for plugin in entry_points(group="raki.commands"):
        if plugin.name in asked and not find_spec(plugin.module.partition(".")[0]):
            raise NotInstalled(
                f"the command raki {plugin.name} is not in the installed package: it needs a checkout of "
                "raki's repository, and there pip install --editable '.[local]'"
            )


def plugins() -> Iterator[EntryPoint]:
    """The commands that other packages add. Those of a checkout of the repository are named in every install of it."""
    for plugin in entry_points(group="raki.commands"):
        if find_spec(plugin.module.partition(".")[0]):
            yield plugin
