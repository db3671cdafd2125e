"""Load settings from YAML and the command line, with errors that name the nearest right key."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from vrec.config.settings import Settings
from vrec.core.errors import ConfigError, os_error_reason


def load_settings(config: Path | str | None = None, overrides: Sequence[str] = ()) -> Settings:
    """The defaults, changed by a YAML file of differences, changed by `a.b=c` overrides.

    Raises ConfigError that lists every wrong key and value at once, with the nearest right key.
    """
    changes: dict[str, Any] = {}
    if config is not None:
        changes = read_yaml(Path(config))
    for override in overrides:
        _apply_override(changes, override)
    return validate_settings(changes)


def validate_settings(changes: Mapping[str, Any]) -> Settings:
    """Settings from a nested mapping of differences; raises ConfigError as `load_settings`."""
    try:
        return Settings.model_validate(changes)
    except ValidationError as error:
        keys = setting_keys(Settings)
        raise ConfigError("; ".join(_explain(problem, keys) for problem in error.errors())) from None


def setting_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    """The dotted names of all settings below a model, groups and leaves."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        keys.append(prefix + name)
        for inner in _models(field.annotation):
            keys.extend(k for k in setting_keys(inner, f"{prefix}{name}.") if k not in keys)
    return keys


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; raises ConfigError where it cannot be read or holds another."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {os_error_reason(error)}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path} holds a {type(value).__name__}, want settings such as `embed:`")
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


def _explain(problem: Any, keys: list[str]) -> str:
    # A discriminated union puts its tag in the location; no setting is called so.
    parts = [str(part) for part in problem["loc"]]
    name = ".".join(parts)
    if problem["type"] != "extra_forbidden":
        if problem["type"] == "value_error":
            return str(problem["ctx"]["error"])
        return f"{name}: {problem['msg'].lower()}, got {problem['input']!r}"
    near = difflib.get_close_matches(name, keys, n=1, cutoff=0.6)
    if not near:
        ending = difflib.get_close_matches(parts[-1], [k.rsplit(".", 1)[-1] for k in keys], n=1, cutoff=0.7)
        near = [k for k in keys if ending and k.rsplit(".", 1)[-1] == ending[0]][:1]
    return f"{name}: unknown" + (f"; did you mean {near[0]}?" if near else "")
