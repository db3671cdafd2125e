"""What every component's config is: frozen, closed to unknown keys, and documented field by field."""

from pydantic import BaseModel, ConfigDict


class BaseConfig(BaseModel):
    """The base of all configs; the docstring under a field is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
