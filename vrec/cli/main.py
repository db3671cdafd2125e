"""The `vrec` command: run one command and turn its outcome into an exit code."""

import contextlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from vrec import __version__
from vrec.cli.assistant import assistant
from vrec.cli.bundle import bundle
from vrec.cli.bundles import bundles_diff, bundles_list, bundles_promote, bundles_rollback
from vrec.cli.check import check
from vrec.cli.compress import compress
from vrec.cli.demo import demo
from vrec.cli.embed import embed, failures
from vrec.cli.evaluate import evaluate
from vrec.cli.federate import federate
from vrec.cli.fit import fit, recommend
from vrec.cli.loop import loop
from vrec.cli.options import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from vrec.cli.personal_data import anonymise, pseudonymise, scan_pii
from vrec.cli.privacy import privacy_audit, privacy_bundles, privacy_rekey, privacy_report
from vrec.cli.robustness import (
    robustness_bench,
    robustness_content,
    robustness_release,
    robustness_suspects,
)
from vrec.cli.serve import serve
from vrec.cli.shard import shard
from vrec.cli.train import train_encoder, train_ranker
from vrec.cli.tune import tune_cf, tune_encoder, tune_ranker
from vrec.core.errors import ConfigError, DataWarning, VrecError
from vrec.core.full_disk import full_disk_error
from vrec.core.masking import mask_credentials

app = typer.Typer(
    name="vrec",
    help="A video recommender for shops, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
train_app = typer.Typer(help="Train what is learned by gradient: the ranker, encoders.", no_args_is_help=True)
train_app.command("ranker")(train_ranker)
train_app.command("encoder")(train_encoder)

tune_app = typer.Typer(help="Look for better settings, by trials on a validation part.", no_args_is_help=True)
tune_app.command("cf")(tune_cf)
tune_app.command("ranker")(tune_ranker)
tune_app.command("encoder")(tune_encoder)

privacy_app = typer.Typer(
    help="Privacy: what fits have spent, attacks, another key, erased shoppers.",
    no_args_is_help=True,
)
privacy_app.command("report")(privacy_report)
privacy_app.command("audit")(privacy_audit)
privacy_app.command("rekey")(privacy_rekey)
privacy_app.command("bundles")(privacy_bundles)

robustness_app = typer.Typer(
    help="Robustness: suspicious and fake shoppers, copied and doctored videos.", no_args_is_help=True
)
robustness_app.command("bench")(robustness_bench)
robustness_app.command("suspects")(robustness_suspects)
robustness_app.command("release")(robustness_release)
robustness_app.command("content")(robustness_content)

bundles_app = typer.Typer(
    help="Bundles of a folder: list, compare, promote, roll back.", no_args_is_help=True
)
bundles_app.command("list")(bundles_list)
bundles_app.command("diff")(bundles_diff)
bundles_app.command("promote")(bundles_promote)
bundles_app.command("rollback")(bundles_rollback)

# In the order in which `vrec --help` lists them.
for command in (demo, embed, failures, check, shard, fit, federate, recommend, evaluate, compress):
    app.command()(command)
for command in (bundle, serve, loop, assistant, pseudonymise, scan_pii, anonymise):
    app.command()(command)
app.add_typer(bundles_app, name="bundles")
app.add_typer(train_app, name="train")
app.add_typer(tune_app, name="tune")
app.add_typer(privacy_app, name="privacy")
app.add_typer(robustness_app, name="robustness")


def _print_version(asked: bool) -> None:
    if asked:
        print(f"vrec {__version__}")
        raise typer.Exit


@app.callback()
def _root_callback(
    *,
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """A video recommender for shops, on Ray."""


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print each DataWarning as one line on standard error, and other warnings as usual."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", DataWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, DataWarning):
                print(f"vrec: warning: {mask_credentials(str(message))}", file=sys.stderr)
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        yield


class _MaskingFormatter(logging.Formatter):
    """Formatter that masks credentials inside URIs."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        return mask_credentials(super().format(record))


@contextlib.contextmanager
def progress_lines() -> Iterator[None]:
    """Print what the package logs, such as the steps of a job, as plain lines on standard error."""
    handler, logger = logging.StreamHandler(sys.stderr), logging.getLogger("vrec")
    handler.setFormatter(_MaskingFormatter("%(message)s"))
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    # Libraries such as onnxruntime give the root logger a handler, which would print every line once more.
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _print_traceback() -> None:
    print(mask_credentials(traceback.format_exc()), file=sys.stderr)


def _sentence(text: str) -> str:
    """Return text that ends with one full stop, question mark or exclamation mark."""
    return text if text.endswith(("?", "!")) else f"{text.rstrip('.')}."


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code.

    0: done. 1: could not run. 2: wrong usage, settings included. 3: done, with failed rows.
    """
    debug = "--debug" in arguments or bool(os.environ.get("VREC_DEBUG"))
    parser = typer.main.get_command(app)
    try:
        with _plain_warnings(), progress_lines():
            code = parser.main(list(arguments), prog_name="vrec", standalone_mode=False)
        return code if isinstance(code, int) else EXIT_OK
    except VrecError as error:
        if debug:
            _print_traceback()
        print(f"vrec: {_sentence(str(error))} Fix: {error.fix.rstrip('.')}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILED
    except KeyboardInterrupt:
        print("vrec: stopped; the same command goes on from here", file=sys.stderr)
        return EXIT_FAILED
    except Exception as error:
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            error.show()  # type: ignore[attr-defined]
            return EXIT_USAGE
        if debug:
            _print_traceback()
        full = full_disk_error(error)
        if full is not None:
            print(f"vrec: {_sentence(str(full))} Fix: {full.fix}", file=sys.stderr)
            return EXIT_FAILED
        what = mask_credentials(" ".join(str(error).split())[:300])
        print(f"vrec: {type(error).__name__}: {_sentence(what)} To see more: add --debug", file=sys.stderr)
        return EXIT_FAILED


def main() -> None:
    """Entry point of the `vrec` command."""
    sys.exit(run(sys.argv[1:]))
