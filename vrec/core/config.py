"""Base class of component configs: frozen, without unknown keys, documented field by field."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.fields import FieldInfo


class BaseConfig(BaseModel):
    """Base of all configs; the docstring below a field is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _complete_kinds(cls, values: Any) -> Any:
        """Add the default's `kind` to the groups of several kinds that were given without one."""
        if not isinstance(values, Mapping):
            return values
        missing = {
            name: {str(field.discriminator): _default_kind(field), **values[name]}
            for name, field in cls.model_fields.items()
            if field.discriminator is not None
            and isinstance(values.get(name), Mapping)
            and field.discriminator not in values[name]
            and _default_kind(field) is not None
        }
        return {**values, **missing}


def _default_kind(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    return getattr(default, str(field.discriminator), None)
