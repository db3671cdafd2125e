"""Change settings by their dotted names."""

from collections.abc import Mapping
from copy import deepcopy
from types import UnionType
from typing import Any, Union, get_origin

from pydantic import BaseModel

from vrec.config.load import validate_settings
from vrec.config.settings import Settings


def explicit_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings that were set, as the nested mapping of JSON values that `--config` takes."""
    return settings.model_dump(mode="json", exclude_unset=True)


def patch_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Return the settings with changes such as `{"retrieval.als.factors": 32}` applied.

    A changed `kind` discards the settings of the former kind. Raises ConfigError as `validate_settings` does.
    """
    whole = explicit_settings(settings)
    # A kind comes before what belongs to it.
    for key in sorted(changes, key=lambda key: (not key.endswith(".kind"), key)):
        *groups, last = key.split(".")
        level, there = whole, settings
        for group in groups:
            either, there = _is_union(there, group), getattr(there, group, None)
            if not isinstance(level.get(group), dict):
                level[group] = {}
            level = level[group]
            if either:
                level.setdefault("kind", getattr(there, "kind", None))
        if last == "kind" and level.get("kind") != changes[key]:
            level.clear()
        # A copy: a later key may change what is below.
        level[last] = deepcopy(changes[key])
    return validate_settings(whole)


def setting_value(settings: Settings, key: str) -> Any:
    """Return a setting's value as plain JSON, None when its group's kind has no such setting."""
    there: Any = settings.model_dump(mode="json")
    for part in key.split("."):
        if not isinstance(there, dict):
            return None
        there = there.get(part)
    return there


def _is_union(there: Any, group: str) -> bool:
    """Tell whether a group of settings is a union of several kinds."""
    field = type(there).model_fields.get(group) if isinstance(there, BaseModel) else None
    return (
        field is not None
        and get_origin(field.annotation) in {Union, UnionType}
        and field.discriminator is not None
    )
