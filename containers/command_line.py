"""What both entry points understand on their command line. Everything else they are told by their environment."""

import os
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from dataclasses import fields
from tempfile import TemporaryFile
from typing import Any

from raki.service.settings import from_environment


def parse(name: str, description: str | None, *settings: type[Any], works: Callable[[], None] = lambda: None) -> None:
    """Returns where there is work to do; `--help` and `--check` say their answer and end the process.

    Whoever gets here has imported all that the container works with, so a check covers that too.

    Args:
        works: what the container has to be able to do beside; raises RuntimeError, with a sentence, where it can't.

    Raises:
        SystemExit: it was asked for help (0) or a check (0 if the container can work, else 1), or wrongly (2).
    """
    variables = ", ".join(field.name.upper() for each in settings for field in fields(each))
    parser = ArgumentParser(
        prog=f"python -m containers.{name}", description=description, epilog=f"Environment: {variables}, TMPDIR"
    )
    parser.add_argument("--check", action="store_true", help="see whether it could work here, and end")
    if parser.parse_args().check:
        _check(parser, settings, works)


def _check(parser: ArgumentParser, settings: Iterable[type[Any]], works: Callable[[], None]) -> None:
    try:
        for each in settings:
            from_environment(each)
        # tempfile on its own would fall back to another folder where this one can't be written.
        with TemporaryFile(dir=os.environ.get("TMPDIR"), buffering=0) as probe:
            probe.write(bytes(4096))
        works()
    except (RuntimeError, ValueError, OSError) as error:
        parser.exit(1, f"{parser.prog} can't work here: {error}\n")
    parser.exit(0)
