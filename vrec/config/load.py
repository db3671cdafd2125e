"""Load settings from YAML and the command line, with errors that name the nearest right key."""

import difflib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from vrec.config.reference import SettingEntry, list_settings
from vrec.config.settings import Settings
from vrec.core.errors import ConfigError, SourceError, os_error_reason
from vrec.core.uris import read_file


def load_settings(config: str | os.PathLike[str] | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Return the defaults, changed by a YAML file of differences, then by `a.b=c` overrides.

    Raises:
        ConfigError: lists every wrong key and value at once, each with the nearest right key.
    """
    changes: dict[str, Any] = {}
    if config is not None:
        changes = read_yaml(config)
    for override in overrides:
        _apply_override(changes, override)
    return validate_settings(changes)


def validate_settings(changes: Mapping[str, Any]) -> Settings:
    """Return settings from a nested mapping of differences; raises ConfigError as `load_settings` does."""
    try:
        return Settings.model_validate(changes)
    except ValidationError as error:
        entries = list_settings()
        raise ConfigError("; ".join(_explain(problem, entries) for problem in error.errors())) from None


def setting_keys() -> list[str]:
    """Return the dotted keys of all settings, groups and leaves."""
    return [entry.key for entry in list_settings()]


def read_yaml(uri: str | os.PathLike[str], example: str = "embed:") -> dict[str, Any]:
    """Return the mapping in the YAML file at a path or URI.

    Args:
        uri: path or URI of the file.
        example: a line that such a file may hold, for the message about one that holds no mapping.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or holds another value.
    """
    try:
        value = yaml.safe_load(read_file(os.fspath(uri)).decode())
    except (OSError, SourceError) as error:
        reason = os_error_reason(error) if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{uri}: {reason}", fix="give the path or URI of a file that can be read") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{uri} is not YAML: {reason}", fix="correct the file where it says") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(
            f"{uri} holds a {type(value).__name__}, want settings such as `{example}`",
            fix="give a YAML file with one setting or group a line",
        )
    return value


def _apply_override(changes: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override}: want name=value, such as embed.batch_size=16")
    *groups, last = key.strip().split(".")
    level = changes
    for group in groups:
        inner = level.setdefault(group, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: {group} is a value, not a group of settings")
        level = inner
    try:
        level[last] = yaml.safe_load(text)
    except yaml.YAMLError:
        level[last] = text


def _explain(problem: Any, entries: list[SettingEntry]) -> str:
    name = _key_of(problem["loc"], entries)
    if problem["type"] == "extra_forbidden":
        return f"{name}: unknown{_hint(name, entries, is_group=isinstance(problem['input'], Mapping))}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{name}: {problem['msg'].lower()}, got {problem['input']!r}"


def _key_of(location: Sequence[str | int], entries: list[SettingEntry]) -> str:
    """Return the key that a location names: a discriminated union puts its tag there, which is no key."""
    keys, groups = ({e.key for e in entries}, {e.key for e in entries if e.is_group})
    key = ""
    for number, part in enumerate(location):
        longer = f"{key}.{part}" if key else str(part)
        is_last = number == len(location) - 1
        if is_last or longer in keys or key not in groups:
            key = longer
    return key


def _hint(name: str, entries: list[SettingEntry], *, is_group: bool) -> str:
    """Suggest the nearest key of the same sort: a group for a mapping, else one that takes a value.

    Of a group that exists, its own keys are considered, then those below it; where none is near, its keys are
    listed.
    """
    parent, _, last = name.rpartition(".")
    below = f"{parent}." if parent else ""
    if below and not any(entry.key == parent for entry in entries):
        below = ""
    keys = [entry.key for entry in entries if entry.is_group == is_group and entry.key.startswith(below)]
    siblings = {key.removeprefix(below): key for key in keys if "." not in key.removeprefix(below)}
    ends = {key.rpartition(".")[2]: key for key in reversed(keys)}
    near = [
        *(siblings[end] for end in difflib.get_close_matches(last, siblings, n=1, cutoff=0.6)),
        *(ends[end] for end in difflib.get_close_matches(last, ends, n=1, cutoff=0.8 if below else 0.95)),
        *difflib.get_close_matches(name, keys, n=1, cutoff=0.8),
    ]
    if near:
        return f"; did you mean {near[0]}?"
    if not siblings:
        siblings = {entry.key: entry.key for entry in entries if "." not in entry.key}
    return f"; {parent or 'the settings'} {'has' if parent else 'have'} {', '.join(siblings)}"
