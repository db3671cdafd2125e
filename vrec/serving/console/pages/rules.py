"""Rules: pins, boosts, bans and campaigns, with a dry run before they are saved."""

import re
from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic import ValidationError

from vrec.serving.console.requests import CONSOLE, ConsoleRequest
from vrec.serving.console.rule_forms import (
    EMPTY_FORM,
    FIELDS,
    RULE_KINDS,
    form_of_rule,
    problems_of_rule,
    rule_of_form,
)
from vrec.serving.deployments.backends import RuleExpectation
from vrec.serving.http.errors import HttpProblem, request_id_of
from vrec.serving.http.lists import now_us
from vrec.serving.http.schemas.requests import MAX_ID_CHARS
from vrec.serving.http.schemas.rules import MAX_SHOPPERS, previewed_list
from vrec.serving.messages import RecommendQuery
from vrec.serving.rules.book import RuleChange, RuleVersion, ShopRule
from vrec.serving.rules.errors import RuleConflict, UnknownRule

RULES = f"{CONSOLE}/rules"
RULE = f"{RULES}/rule"
LIST_LENGTH = 20
"""Videos of each list in a dry run."""
HISTORY_SHOWN = 20
ABSENT = "absent"
"""Version in the form of a new rule."""
_RULE_ID = re.compile(r"[a-z0-9_-]{1,64}")
_SURFACE = re.compile(r"[a-z0-9_-]{1,32}")


async def list_rules(page: ConsoleRequest) -> Response:
    """Show all rules."""
    versions = (await page.backend.rules.book()).versions.values()
    now = now_us()
    rows = [(one, one.change.rule, one.change.rule.state(now)) for one in versions if one.change.rule]
    return page.page("rules.html", rows=rows)


async def show_rule(page: ConsoleRequest) -> Response:
    """Show the form of a rule, or of a new one."""
    rule_id = page.query("id", 64)
    if not rule_id:
        return await _rule_page(page, "", EMPTY_FORM, ABSENT)
    version = await _version_of(page, rule_id)
    if version is None or version.change.rule is None:
        raise UnknownRule(f"there is no rule {rule_id}")
    return await _rule_page(page, rule_id, form_of_rule(version.change.rule), str(version.number))


async def _version_of(page: ConsoleRequest, rule_id: str) -> RuleVersion | None:
    return (await page.backend.rules.book()).versions.get(rule_id)


async def _rule_page(
    page: ConsoleRequest, rule_id: str, form: Mapping[str, str], version: str, status: int = 200, **more: Any
) -> Response:
    history = [] if version == ABSENT else (await page.backend.rules.history(rule_id))[:HISTORY_SHOWN]
    values: dict[str, Any] = {
        "rule_id": rule_id,
        "form": form,
        "version": version,
        "kinds": RULE_KINDS,
        "history": history,
        "problems": {},
        "others": {},
        "changed_by": None,
        "preview": None,
        "shoppers": page.form.get("shoppers", ""),
        "surface": page.form.get("surface", "feed"),
        "most": MAX_SHOPPERS,
    }
    return page.page("rule.html", status, **values | more)


async def save_rule(page: ConsoleRequest) -> Response:
    """Store a form; show it again if a field is wrong, or if somebody else changed the rule meanwhile."""
    rule_id, version, form = _given(page)
    parsed = _parsed(rule_id, form)
    if not isinstance(parsed, ShopRule):
        return await _rule_page(page, rule_id, form, version, 422, problems=parsed)
    change = RuleChange(rule_id, parsed, page.key_name, now_us(), request_id_of(page.request))
    try:
        await page.backend.rules.change(change, _expected(version))
    except RuleConflict:
        return await _conflict(page, rule_id, form)
    return page.moved(RULE, id=rule_id, done="rule_saved")


async def _conflict(page: ConsoleRequest, rule_id: str, form: Mapping[str, str]) -> Response:
    """Show a form again beside what somebody else wrote; sent again, it replaces that."""
    present = await _version_of(page, rule_id)
    if present is None or present.change.rule is None:
        return await _rule_page(page, rule_id, form, ABSENT, 412, others={"kind": ""})
    now = form_of_rule(present.change.rule)
    others = {name: now[name] for name in FIELDS if now[name].split() != form[name].split()}
    more = {"others": others or {"kind": now["kind"]}, "changed_by": present.change.by}
    return await _rule_page(page, rule_id, form, str(present.number), 412, **more)


async def preview_rule(page: ConsoleRequest) -> Response:
    """Show what a form would change for some shoppers, and the form again; nothing is stored."""
    rule_id, version, form = _given(page)
    parsed = _parsed(rule_id, form)
    problems = {} if isinstance(parsed, ShopRule) else dict(parsed)
    shoppers = list(dict.fromkeys(page.form.get("shoppers", "").split()))
    surface = page.form.get("surface", "").strip()
    if not 0 < len(shoppers) <= MAX_SHOPPERS or any(len(one) > MAX_ID_CHARS for one in shoppers):
        problems["shoppers"] = "shoppers"
    if not _SURFACE.fullmatch(surface):
        problems["surface"] = "string_pattern_mismatch"
    if problems or not isinstance(parsed, ShopRule):
        return await _rule_page(page, rule_id, form, version, 422, problems=problems)
    queries = [_query(page, user_id, surface) for user_id in shoppers]
    lists = await page.backend.rules.preview(queries, rule_id, parsed)
    preview = [previewed_list(query.user_id, *pair) for query, pair in zip(queries, lists, strict=True)]
    named = {name for one in preview for name in (*one["entered"], *one["left"])}
    cards = await page.backend.cards(sorted(named))
    titles = {name: card["title"] for name, card in cards.items() if card["title"]}
    changed = sum(one["before"] != one["after"] for one in preview)
    return await _rule_page(page, rule_id, form, version, preview=preview, changed=changed, titles=titles)


def _query(page: ConsoleRequest, user_id: str, surface: str) -> RecommendQuery:
    return RecommendQuery(
        request_id=request_id_of(page.request),
        user_id=user_id,
        surface=surface,
        k=LIST_LENGTH,
        at=now_us(),
        order=page.backend.experiment.arm_of(user_id).order,
    )


async def remove_rule(page: ConsoleRequest) -> Response:
    """Remove the version of a rule that the form names."""
    rule_id, version = page.form.get("id", ""), page.form.get("version", "")
    change = RuleChange(rule_id, None, page.key_name, now_us(), request_id_of(page.request))
    try:
        await page.backend.rules.change(change, _expected(version))
    except RuleConflict:
        present = await _version_of(page, rule_id)
        if present is None or present.change.rule is None:
            raise UnknownRule(f"there is no rule {rule_id}") from None
        return await _conflict(page, rule_id, form_of_rule(present.change.rule))
    return page.moved(RULES, done="rule_removed")


def _given(page: ConsoleRequest) -> tuple[str, str, dict[str, str]]:
    """Return the id, the version and the fields of a form."""
    form = {name: page.form.get(name, "") for name in FIELDS}
    return page.form.get("id", "").strip(), page.form.get("version", ""), form


def _parsed(rule_id: str, form: Mapping[str, str]) -> ShopRule | Mapping[str, str]:
    """Return the rule of a form, or the problems by field."""
    problems = {} if _RULE_ID.fullmatch(rule_id) else {"id": "rule_id"}
    try:
        rule = rule_of_form(rule_id, form)
    except ValidationError as error:
        return problems | problems_of_rule(error)
    return problems or rule


def _expected(version: str) -> RuleExpectation:
    if version == ABSENT:
        return ABSENT
    if not version.isdecimal() or len(version) > 18:
        raise HttpProblem(422, "invalid-form", "the form names no version of the rule: send it from the page")
    return frozenset({int(version)})


ROUTES = (
    ("GET", "/rules", list_rules),
    ("GET", "/rules/rule", show_rule),
    ("POST", "/rules/rule", save_rule),
    ("POST", "/rules/preview", preview_rule),
    ("POST", "/rules/remove", remove_rule),
)
