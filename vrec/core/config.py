"""Base class of component configs: frozen, without unknown keys, documented field by field."""

from pydantic import BaseModel, ConfigDict


class BaseConfig(BaseModel):
    """Base of all configs; the docstring below a field is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
