"""Reference of all settings: their keys, types, defaults and effects, read from the code.

`python -m vrec.config.reference` prints docs/settings.md.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from vrec.config.settings import Settings

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥", "max_length": "length ≤"}

_EXPONENT = re.compile(r"\b(\d+)e")
_GROUP = "group"
_SHORT_GROUP = 200
"""Characters of type and default up to which a group that came before is listed again."""

_HEAD = """# Settings

Every key that `--set a.b=c` and a YAML file for `--config` take, with its type, default and effect. This page
is made from the code by `make settings`, and a test compares the two.

A group of several kinds, such as `train.ranker.network`, lists the keys of every kind. Its key `kind` chooses
one; when it is left out, the default's kind applies. Keys ending in `_s` are in seconds, `_px` in pixels,
`_hours` in hours.
"""


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """One key of the settings."""

    key: str
    """Dotted name, such as `embed.batch_size`."""
    type: str
    """Type and bounds, in words."""
    default: str
    """Default as YAML (flow style); empty for a group."""
    description: str
    """Unit and effect."""
    kind: str | None = None
    """For a key that only some kinds of its group have: these kinds."""

    @property
    def is_group(self) -> bool:
        """True for a key that holds further keys."""
        return self.type == _GROUP


def list_settings(model: type[BaseModel] = Settings) -> list[SettingEntry]:
    """Return an entry per key below a model, groups before their members."""
    return [*_entries(model, "", None, {})]


def render_reference() -> str:
    """Return docs/settings.md: a section per command, a table row per key."""
    sections, settings = [_HEAD], list_settings()
    for name, field in Settings.model_fields.items():
        entries = [entry for entry in settings if entry.key.startswith(f"{name}.")]
        lines = [
            f"## {name}",
            "",
            field.description or "",
            "",
            "| key | type | default | effect |",
            "|---|---|---|---|",
        ]
        for entry in entries:
            effect = f"With kind {entry.kind}: {entry.description}" if entry.kind else entry.description
            default = f"`{entry.default}`" if entry.default else ""
            cells = (f"`{entry.key}`", entry.type, default, effect)
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
        sections.append("\n".join(lines) + "\n")
    return "\n".join(sections)


def _entries(
    model: type[BaseModel], prefix: str, default: BaseModel | None, listed: dict[str, str]
) -> Iterator[SettingEntry]:
    """Yield the entries of a model's fields; `listed` maps groups that have been listed to their keys."""
    for name, field in model.model_fields.items():
        key = prefix + name
        value = getattr(default, name) if default is not None else _default(field)
        groups, description = nested_models(field.annotation), " ".join((field.description or "").split())
        if not groups:
            yield SettingEntry(key, _type_name(field), _yaml(value), description)
            continue
        same = f"{field.annotation}{_yaml(value)}"
        if len(same) > _SHORT_GROUP and same in listed:
            text = f"{description} The same keys as `{listed[same]}`."
            yield SettingEntry(key, _GROUP, "", text)
            continue
        listed[same] = key
        yield SettingEntry(key, _GROUP, "" if isinstance(value, BaseModel) else _yaml(value), description)
        yield from _members(groups, f"{key}.", value, listed)


def _members(
    groups: list[type[BaseModel]], prefix: str, value: Any, listed: dict[str, str]
) -> Iterator[SettingEntry]:
    """Yield the keys of a group: of one model, or of each kind of a union, shared keys once."""
    if len(groups) == 1:
        yield from _entries(groups[0], prefix, value if isinstance(value, groups[0]) else None, listed)
        return
    kinds: dict[SettingEntry, list[str]] = {}
    about = []
    for group in groups:
        tags = [str(tag) for tag in get_args(group.model_fields["kind"].annotation)]
        for entry in _entries(group, prefix, value if isinstance(value, group) else None, {}):
            if entry.key == f"{prefix}kind":
                about.append(f"`{'` or `'.join(tags)}`: {entry.description}")
            else:
                kinds.setdefault(entry, []).extend(tags)
    every = [str(tag) for group in groups for tag in get_args(group.model_fields["kind"].annotation)]
    chosen = str(getattr(value, "kind", ""))
    yield SettingEntry(f"{prefix}kind", " or ".join(f"`{tag}`" for tag in every), chosen, " ".join(about))
    for entry, tags in kinds.items():
        yield entry if tags == every else replace(entry, kind=" or ".join(f"`{tag}`" for tag in tags))


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    """Return the config classes in a field's annotation: several for a union, none for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, UnionType, Annotated):
        return [model for part in get_args(annotation) for model in nested_models(part)]
    return []


def _default(field: FieldInfo) -> Any:
    value = field.get_default(call_default_factory=True, validated_data={})
    return None if value is PydanticUndefined else value


def _yaml(value: Any) -> str:
    plain = to_jsonable_python(sorted(value) if isinstance(value, frozenset | set) else value)
    # YAML reads a number with an exponent as text unless it has a point.
    return plain if isinstance(plain, str) else _EXPONENT.sub(r"\1.0e", json.dumps(plain, ensure_ascii=False))


def _type_name(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, name)}"
        for limit in field.metadata
        for name, sign in _BOUNDS.items()
        if getattr(limit, name, None) is not None
    ]
    return ", ".join([_annotation_name(field.annotation), *bounds])


def _annotation_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin is Annotated:
        return _annotation_name(arguments[0])
    if origin in (Union, UnionType):
        return " or ".join("null" if part is NoneType else _annotation_name(part) for part in arguments)
    if origin in (tuple, list, set, frozenset):
        return "list of " + _annotation_name(arguments[0])
    if origin is dict:
        return "mapping"
    name = getattr(annotation, "__name__", str(annotation))
    names = {"str": "text", "int": "integer", "float": "number", "bool": "boolean"}
    return names.get(name, re.sub(r"Config$", "", name))


if __name__ == "__main__":
    print(render_reference(), end="")
