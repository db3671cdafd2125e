"""Options that commands share, each declared once, and the decorator that adds them to a command."""

import dataclasses
import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vrec.core.errors import ConfigError, SourceError
from vrec.core.masking import mask_values
from vrec.core.uris import local_path

if TYPE_CHECKING:
    from vrec.config.settings import Settings
    from vrec.pipelines.inputs import InputPaths

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_PARTIAL = 0, 1, 2, 3
"""Exit codes of every command."""

Command = Callable[..., int]

_VIDEOS_HELP = "A VIDEOS table (.parquet, .csv, .tsv or .jsonl)"

VideosOption = Annotated[
    str, typer.Option(help="A folder of videos or a VIDEOS table (.parquet); a path or a URI.")
]


def check_paths(**paths: str | None) -> None:
    """Check that the local paths given to options exist, before anything is imported to read them.

    URIs are left to the command.

    Raises:
        SourceError: There is no such file or folder; the message names the option.
    """
    for option, path in paths.items():
        local = local_path(path) if path else None
        if local is not None and not os.path.exists(local):
            # The only argument without an option's name.
            given = "of the table" if option == "table" else f"given to --{option.replace('_', '-')}"
            raise SourceError(f"{path}: no such file or folder", fix=f"check the path {given}")


def known_model(name: str) -> str:
    """Return the name of a recommender; raise UnknownModel if there is none of that name."""
    from vrec.retrieval.config import check_kind

    check_kind(name)
    return name


ModelOption = Annotated[
    str, typer.Option(help="Which recommender: auto, item_knn, hybrid, ….", callback=known_model)
]


@dataclass(frozen=True, slots=True)
class OutputOptions:
    """Options of every command."""

    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False

    def show(self, result: Mapping[str, Any], write_text: Callable[[Mapping[str, Any]], None]) -> None:
        """Print a command's result: as one line of JSON with `--json`, else by `write_text`.

        Credentials inside URIs are masked.
        """
        result = mask_values(result)
        if self.as_json:
            print(json.dumps(result, ensure_ascii=False))
        else:
            write_text(result)


@dataclass(frozen=True, slots=True)
class SettingsOptions(OutputOptions):
    """Options of a command that has settings."""

    config: Annotated[
        str | None, typer.Option("--config", help="YAML with settings that differ; a path or a URI.")
    ] = None
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A setting: a.b=c. May be repeated.")
    ] = None

    def settings(self, extra: Sequence[str] = ()) -> "Settings":
        """Load the defaults changed by `--config`, then `--set`, then `extra`; raises ConfigError."""
        from vrec.config.load import load_settings

        return load_settings(self.config, [*(self.overrides or []), *extra])


@dataclass(frozen=True, slots=True)
class RunOptions(SettingsOptions):
    """Options of a command that runs on Ray."""

    address: Annotated[
        str | None, typer.Option(help="A Ray cluster; a local Ray is started when none is given.")
    ] = None


@dataclass(frozen=True, slots=True)
class EventsFormatOptions:
    """Options that say how a table of events is laid out."""

    mapped: Annotated[
        str | None, typer.Option("--map", help="The table's own names for columns: user_id=uid,at=time.")
    ] = None
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="A public data set that --events is the folder of: movielens_100k, kuairand_pure, …; or the "
            "layout of a file without a header: pairs (user, item, …) or lists (user, item, item, …).",
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class OptionalEventsOptions(EventsFormatOptions):
    """Options of a command that learns from events where there are some."""

    events: Annotated[
        str | None,
        typer.Option(
            help="Events (.parquet, .csv, .tsv or .jsonl), or a data set's folder, to align the encoder with."
        ),
    ] = None

    def inputs(self) -> "InputPaths | None":
        """Return where the events are, None without `--events`; raises ConfigError for a bad `--map`."""
        check_paths(events=self.events)
        from vrec.pipelines.inputs import InputPaths

        return (
            None
            if self.events is None
            else InputPaths(self.events, self.dataset, parse_column_map(self.mapped))
        )


@dataclass(frozen=True, slots=True)
class NewerEventsOptions(EventsFormatOptions):
    """Options of a command that adds events to those that a model was fitted on."""

    events: Annotated[
        str | None,
        typer.Option(help="Newer events of the users (.parquet, .csv, .tsv or .jsonl); a path or a URI."),
    ] = None
    videos: Annotated[
        str | None,
        typer.Option("--videos", help=f"{_VIDEOS_HELP}, for durations of watches."),
    ] = None

    def inputs(self) -> "InputPaths | None":
        """Return where the events are, None without `--events`; raises ConfigError for a bad `--map`."""
        check_paths(events=self.events, videos=self.videos)
        from vrec.pipelines.inputs import InputPaths

        if self.events is None:
            return None
        return InputPaths(self.events, self.dataset, parse_column_map(self.mapped), self.videos)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions(EventsFormatOptions):
    """Options of a command that reads a shop's events and, for what depends on content, its videos."""

    events: Annotated[
        str,
        typer.Option(
            help="Events (.parquet, .csv, .tsv or .jsonl), a folder of `vrec shard`, or a data set's folder; "
            "a path or a URI."
        ),
    ]
    videos: Annotated[
        str | None,
        typer.Option("--videos", help=f"{_VIDEOS_HELP}, for what depends on content; a path or a URI."),
    ] = None
    embeddings: Annotated[
        str | None, typer.Option(help="An embedding folder, for what depends on content; a path or a URI.")
    ] = None
    links: Annotated[
        str | None,
        typer.Option(
            help="Accounts of shoppers in other domains (LINKS), for cross_domain; a path or a URI."
        ),
    ] = None
    follows: Annotated[
        str | None,
        typer.Option(
            help="Creators whom shoppers follow, and their friends (FOLLOWS), for creators; a path or a URI."
        ),
    ] = None

    consent: Annotated[
        str | None,
        typer.Option(
            help="Answers of shoppers (CONSENTS): events of those without `train` are left out; a path or a "
            "URI."
        ),
    ] = None

    def inputs(self) -> "InputPaths":
        """Return where the tables are; raises ConfigError for a bad `--map`."""
        mapping = parse_column_map(self.mapped)
        check_paths(events=self.events, videos=self.videos, embeddings=self.embeddings)
        check_paths(links=self.links, follows=self.follows, consent=self.consent)
        from vrec.pipelines.inputs import InputPaths

        more = {"links": self.links, "follows": self.follows, "consent": self.consent}
        return InputPaths(self.events, self.dataset, mapping, self.videos, self.embeddings, **more)


def command(function: Command) -> Command:
    """Return the function with its option groups expanded, for `typer.Typer.command` to register.

    A keyword parameter annotated with one of the option groups above becomes one option per field, and the
    function receives the group. Every other parameter is an option or argument as typer reads it.
    """
    own = inspect.signature(function, eval_str=True).parameters
    groups: dict[str, type[Any]] = {
        key: p.annotation
        for key, p in own.items()
        if isinstance(p.annotation, type) and dataclasses.is_dataclass(p.annotation)
    }
    parameters = [p for key, p in own.items() if key not in groups]
    for group in groups.values():
        parameters += inspect.signature(group, eval_str=True).parameters.values()
    keyword_only = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]

    @functools.wraps(function)
    def run(**values: Any) -> int:
        for key, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            values[key] = group(**{field: values.pop(field) for field in fields})
        return function(**values)

    # typer reads both: the signature for defaults, the annotations for types.
    run.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in keyword_only}
    return run


def parse_column_map(text: str | None) -> dict[str, str]:
    """Parse `--map` into column names by EVENTS column; raises ConfigError."""
    pairs = [pair.partition("=") for pair in (text or "").split(",") if pair.strip()]
    if wrong := ["".join(pair) for pair in pairs if not all(part.strip() for part in pair)]:
        raise ConfigError(
            f"--map {text}: want pairs such as user_id=uid,at=time, and `{wrong[0]}` is not one",
            fix="give each column of EVENTS, an =, and the name of the column in your table",
        )
    return {name.strip(): column.strip() for name, _, column in pairs}
