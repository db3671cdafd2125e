"""Forms of the shop's rules: what a form has for a rule, and the rule that a form asks for."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from vrec.serving.console.form_values import number_or_text, time_or_text
from vrec.serving.http.schemas.rules import RULE_BODY, RULE_TAGS, to_rule
from vrec.serving.rules.book import ShopRule

RULE_KINDS = ("pin", "boost", "ban", "campaign")
FIELDS = (
    *("kind", "videos", "expression", "position", "factor", "share"),
    *("surfaces", "categories", "starts_at", "ends_at", "note"),
)
"""Fields of a form besides the id. Lists have one value in a line, times are UTC, positions begin at 1 and
shares are percent."""
EMPTY_FORM: Mapping[str, str] = {**dict.fromkeys(FIELDS, ""), "kind": "pin", "position": "1"}
_PLACES = {"video_id": "videos", "video_ids": "videos"}
"""Field of the form by the field of a rule's body where they differ."""


def form_of_rule(rule: ShopRule) -> dict[str, str]:
    """Return the fields of the form for a rule."""
    return {
        "kind": rule.kind,
        "videos": "\n".join(rule.video_ids),
        "expression": rule.expression or "",
        "position": str(rule.position + 1) if rule.kind == "pin" else "",
        "factor": f"{rule.factor:g}" if rule.kind == "boost" else "",
        "share": f"{rule.share * 100:g}" if rule.kind == "campaign" else "",
        "surfaces": "\n".join(rule.surfaces),
        "categories": "\n".join(rule.categories),
        "starts_at": _input_of(rule.starts_at),
        "ends_at": _input_of(rule.ends_at),
        "note": rule.note or "",
    }


def rule_of_form(rule_id: str, form: Mapping[str, str]) -> ShopRule:
    """Return the rule that a form asks for; raises ValidationError."""
    kind = form.get("kind", "")
    body: dict[str, Any] = {
        "kind": kind,
        "surfaces": _lines(form.get("surfaces", "")),
        "categories": _lines(form.get("categories", "")),
        "starts_at": time_or_text(form.get("starts_at", "")),
        "ends_at": time_or_text(form.get("ends_at", "")),
        "note": form.get("note", "").strip() or None,
    }
    videos, expression = _lines(form.get("videos", "")), form.get("expression", "").strip()
    if kind == "pin":
        body |= {
            "video_id": "\n".join(videos),
            "position": _less(number_or_text(form.get("position", "")), 1),
        }
    else:
        body["videos"] = {"expression": expression} if expression else {"video_ids": videos}
    if kind == "boost":
        body["factor"] = number_or_text(form.get("factor", ""))
    if kind == "campaign":
        share = number_or_text(form.get("share", ""))
        body["share"] = share / 100 if isinstance(share, float) else share
    return to_rule(rule_id, RULE_BODY.validate_python(body))


def problems_of_rule(error: ValidationError) -> dict[str, str]:
    """Return the type of the problem by the field of the form."""
    found = {}
    for one in error.errors():
        names = [part for part in one["loc"] if isinstance(part, str) and part not in RULE_TAGS]
        name = names[-1] if names else "kind"
        found[_PLACES.get(name, name)] = one["type"]
    return found


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _less(number: float | str, one: int) -> float | str:
    return number - one if isinstance(number, float) else number


def _input_of(at: int | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%dT%H:%M")
