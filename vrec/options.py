"""The app on which commands are registered, and the options that several of them take."""

from pathlib import Path
from typing import Annotated

import typer

from vrec.core.errors import ConfigError

app = typer.Typer(
    name="vrec",
    help="A video recommender for shops, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

train_app = typer.Typer(help="Train what is learned by gradient: the ranker, encoders.", no_args_is_help=True)
app.add_typer(train_app, name="train")

tune_app = typer.Typer(help="Look for better settings, by trials on a validation part.", no_args_is_help=True)
app.add_typer(tune_app, name="tune")

DONE, COULD_NOT_RUN, WRONG_USAGE, SOME_FAILED = 0, 1, 2, 3

Videos = Annotated[
    str, typer.Option(help="A folder of videos or a VIDEOS table (.parquet); a path or a URI.")
]
Out = Annotated[str, typer.Option(help="The folder for the tables; a path or a URI.")]
Events = Annotated[
    str, typer.Option(help="Events (.parquet or .csv), or a data set's folder; a path or a URI.")
]
Mapped = Annotated[
    str | None, typer.Option("--map", help="The table's own names for columns: user_id=uid,at=time.")
]
DataSet = Annotated[
    str | None, typer.Option("--dataset", help="The public data set that --events is the folder of.")
]
VideosTable = Annotated[
    str | None, typer.Option("--videos", help="A VIDEOS table (.parquet), for what depends on content.")
]
Embeddings = Annotated[str | None, typer.Option(help="An embedding folder, for what depends on content.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML with settings that differ.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="A setting: a.b=c. May be repeated.")]
Address = Annotated[
    str | None, typer.Option(help="A Ray cluster; a local Ray is started when none is given.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def to_mapping(text: str | None) -> dict[str, str]:
    """The names of columns that `--map` gives; raises ConfigError."""
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    if wrong := [name for name, equals, column in pairs if not (name.strip() and equals and column.strip())]:
        raise ConfigError(f"--map {text}: want column=column, such as user_id=uid, at {wrong[0]}")
    return {name.strip(): column.strip() for name, _, column in pairs}
