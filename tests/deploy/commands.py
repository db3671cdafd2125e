"""Check of commands in documents and files: whether vrec's own command line accepts them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import typer

from vrec.cli.main import app
from vrec.config.load import load_settings
from vrec.core.errors import VrecError


def parses(arguments: Sequence[str]) -> str | None:
    """Return why `vrec ARGUMENTS` would be refused before it does anything; None if it would run.

    Settings given by `--set` are checked, too. Files are not looked at.
    """
    parser: Any = typer.main.get_command(app)
    rest, context = list(arguments), None
    try:
        while True:
            context = parser.make_context(parser.name, rest, parent=context)
            if not hasattr(parser, "resolve_command"):
                break
            _, parser, rest = parser.resolve_command(context, [*context._protected_args, *context.args])
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    given = [value for flag, value in pairwise(arguments) if flag == "--set"]
    given += [word.removeprefix("--set=") for word in arguments if word.startswith("--set=")]
    try:
        load_settings(overrides=given)
    except VrecError as error:
        return str(error)
    return None
