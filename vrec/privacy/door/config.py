"""Settings of the rules for personal data on entry."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from vrec.core.config import BaseConfig
from vrec.privacy.pii.config import PiiScanConfig

FIXED_FIELDS = frozenset({"event_id", "user_id", "session_id", "video_id", "kind", "domain"})
"""Columns that no rule changes: ids, which get pseudonyms, and what says what happened where."""


class DropField(BaseConfig):
    """Field that is left out."""

    kind: Literal["drop"] = "drop"
    """Name of this rule."""
    kinds: tuple[str, ...] = ()
    """Kinds of events whose field it is; all by default."""


class HashField(BaseConfig):
    """Text that is replaced by its keyed hash, so that equal texts stay equal; it needs a key."""

    kind: Literal["hash"] = "hash"
    """Name of this rule."""
    kinds: tuple[str, ...] = ()
    """Kinds of events whose field it is; all by default."""


class BandField(BaseConfig):
    """Number that is replaced by the lower edge of its band, such as an age or a price."""

    kind: Literal["bands"] = "bands"
    """Name of this rule."""
    edges: Annotated[tuple[float, ...], Field(min_length=1, max_length=1_000)]
    """Lower edges of the bands, ascending. Numbers below the first one become 0."""
    kinds: tuple[str, ...] = ()
    """Kinds of events whose field it is, such as `purchase`; all by default."""

    @field_validator("edges")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 <= edge < float("inf") for edge in edges):
            raise ValueError("an edge is below 0 or no number")
        if any(low >= high for low, high in pairwise(edges)):
            raise ValueError("the edges do not ascend")
        return edges


class RoundedTime(BaseConfig):
    """Time that is rounded down; the order of events within the unit is lost."""

    kind: Literal["round"] = "round"
    """Name of this rule."""
    to: Literal["minute", "hour", "day"] = "hour"
    """Unit, in UTC."""
    kinds: tuple[str, ...] = ()
    """Kinds of events whose field it is; all by default."""


FieldRule = Annotated[DropField | HashField | BandField | RoundedTime, Field(discriminator="kind")]


class DoorConfig(BaseConfig):
    """Settings of what happens to personal data on entry; without any, everything is kept as it was sent."""

    key: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable that holds the key of pseudonyms, such as VREC_PRIVACY_KEY; with _FILE behind its
    name it holds the path of a file with the key. With it, the ids of shoppers, sessions, accounts and events
    become pseudonyms, as `vrec pseudonymise` makes them, before anything is stored or leaves the HTTP
    process."""
    old_key: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Environment variable of the key before, while `vrec privacy rekey` moves shoppers to the new one. A
    shopper who is not moved yet is found under it, and moved."""
    tenant: str = Field(default="default", min_length=1)
    """Tenant in pseudonyms of the service's own shop, as `--tenant` of `vrec pseudonymise`; those of
    `serve.tenants` have their names."""
    fields: dict[str, FieldRule] = Field(default_factory=dict)
    """Rules for fields of events, and for `age` of a request: `drop`, `hash`, `bands` or `round`.
    `vrec pseudonymise` does the same to the columns of a table."""
    redact: bool | None = None
    """Whether personal data that is found in texts of shoppers, which are searches and messages to the
    assistant, is replaced by its kind, as in `[phone]`. Null is true where there is a `key`."""
    regions: tuple[str, ...] = ("CN",)
    """Regions whose phone numbers are found without a country code, as ISO 3166 codes."""

    @field_validator("regions")
    @classmethod
    def _known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        return PiiScanConfig(regions=regions).regions if regions != ("CN",) else regions

    @model_validator(mode="after")
    def _check(self) -> Self:
        if fixed := sorted(FIXED_FIELDS & self.fields.keys()):
            raise ValueError(f"fields: {fixed[0]} cannot be changed")
        if self.old_key is not None and self.key is None:
            raise ValueError("old_key without key: the new one is missing")
        if self.old_key is not None and self.old_key == self.key:
            raise ValueError("old_key is key: a rotation needs two")
        if self.key is None and any(rule.kind == "hash" for rule in self.fields.values()):
            raise ValueError("fields: a hash needs a key")
        if self.fields.get("at") is not None and self.fields["at"].kind != "round":
            raise ValueError("fields: at can be rounded only")
        return self

    @property
    def redacts(self) -> bool:
        """True if texts are redacted."""
        return self.key is not None if self.redact is None else self.redact

    @property
    def is_on(self) -> bool:
        """True if anything changes on entry."""
        return self.key is not None or bool(self.fields) or self.redacts
