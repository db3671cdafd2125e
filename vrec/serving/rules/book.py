"""Rules of the shop and their versions, as the log of their changes has them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import msgpack

logger = logging.getLogger("ray.serve")

RULES_LOG = "rules"
"""Log of the store that has all changes of rules."""
FORMAT = 1
"""First value of each record; records of other formats are left out and named in the service's log."""

RuleKind = Literal["pin", "boost", "ban", "campaign"]
RuleState = Literal["scheduled", "active", "ended"]


@dataclass(frozen=True, slots=True)
class ShopRule:
    """Rule of the shop about certain videos of certain lists."""

    rule_id: str
    kind: RuleKind
    video_ids: tuple[str, ...] = ()
    """Ids of its videos; a pin has one."""
    expression: str | None = None
    """Filter expression that its videos match, if it does not name them."""
    surfaces: tuple[str, ...] = ()
    """Surfaces whose lists it is about; empty for all."""
    categories: tuple[str, ...] = ()
    """Categories, outside of which the list's own filters let no video pass; empty for any list."""
    position: int = 0
    """Position of a pin in the list, from 0."""
    factor: float = 1.0
    """Factor of a boost on the utility, above 0."""
    share: float = 0.0
    """Share of the positions that a campaign has at least, in (0, 1]."""
    starts_at: int | None = None
    """µs since 1970 from which it holds; None for at once."""
    ends_at: int | None = None
    """µs since 1970 from which it does not hold any more; None for never."""
    note: str | None = None
    """Text for people."""

    def is_active(self, at: int) -> bool:
        """Return whether the rule holds at a time, µs since 1970."""
        return self.state(at) == "active"

    def state(self, at: int) -> RuleState:
        """Return whether the rule does not hold yet, holds, or holds no more at a time, µs since 1970."""
        if self.starts_at is not None and at < self.starts_at:
            return "scheduled"
        return "active" if self.ends_at is None or at < self.ends_at else "ended"

    def applies_to(self, surface: str, categories: frozenset[str] | None, at: int) -> bool:
        """Return whether the rule holds for a list.

        Args:
            surface: Surface of the list.
            categories: Categories to which the request's filters restrict the list; None for all.
            at: Time of the request, µs since 1970.
        """
        if not self.is_active(at) or (self.surfaces and surface not in self.surfaces):
            return False
        return not self.categories or (bool(categories) and categories <= set(self.categories))


@dataclass(frozen=True, slots=True)
class RuleChange:
    """Change of a rule, as it is in the log."""

    rule_id: str
    rule: ShopRule | None
    """The rule after the change; None for its removal."""
    by: str | None
    """Name of the API key that made it; None without keys."""
    at: int
    """µs since 1970."""
    request_id: str
    """Request that made it."""


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """Change of a rule with its number in the log, which is the rule's version."""

    number: int
    change: RuleChange


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules after the changes up to a number; immutable."""

    number: int = 0
    """Number of the last change."""
    versions: Mapping[str, RuleVersion] = field(default_factory=dict)
    """Last change of each rule that exists, by id in ascending order."""

    @property
    def rules(self) -> list[ShopRule]:
        """All rules, by id."""
        return [one.change.rule for one in self.versions.values() if one.change.rule is not None]

    def after(self, records: Sequence[tuple[int, bytes]]) -> "RuleBook":
        """Return the rules after more records of the log, in their order."""
        versions, number = dict(self.versions), self.number
        for number, record in records:
            if (change := unpack_change(number, record)) is not None:
                versions[change.rule_id] = RuleVersion(number, change)
        return RuleBook(number, _present(versions))

    def with_draft(self, rule_id: str, rule: ShopRule | None) -> "RuleBook":
        """Return the rules with one that is put, or removed, and that is in no log."""
        change = RuleChange(rule_id, rule, None, 0, "")
        return RuleBook(-1, _present({**self.versions, rule_id: RuleVersion(-1, change)}))


NO_BOOK = RuleBook()
"""No rules."""


def pack_change(change: RuleChange) -> bytes:
    """Encode a change as a record."""
    rule = None if change.rule is None else asdict(change.rule)
    packed = msgpack.packb((FORMAT, change.rule_id, rule, change.by, change.at, change.request_id))
    assert packed is not None  # it is None for streaming packers only
    return packed


def unpack_change(number: int, record: bytes) -> RuleChange | None:
    """Decode a record; None, with an error in the service's log, if it is none of this version."""
    try:
        form, rule_id, rule, by, at, request_id = msgpack.unpackb(record, use_list=False)
        if form != FORMAT:
            raise ValueError(f"its format is {form}, want {FORMAT}")
        return RuleChange(rule_id, None if rule is None else _rule(rule), by, at, request_id)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        logger.error("a change of a rule cannot be read", extra={"number": number, "why": str(error)[:300]})
        return None


def _rule(values: Mapping[str, Any]) -> ShopRule:
    if unknown := values.keys() - {one.name for one in fields(ShopRule)}:
        raise ValueError(f"it has unknown fields {sorted(unknown)}")
    return ShopRule(**values)


def _present(versions: Mapping[str, RuleVersion]) -> dict[str, RuleVersion]:
    return {name: one for name, one in sorted(versions.items()) if one.change.rule is not None}
