"""Changes of the shop's rules, their history, and what a change would do."""

from collections.abc import Sequence

from vrec.serving.deployments.backends import RuleExpectation
from vrec.serving.deployments.handles import ProfilesHandle, RankingHandle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.replies import await_reply
from vrec.serving.messages import ListResult, ReadPosition, RecommendQuery
from vrec.serving.rules.book import (
    RULES_LOG,
    RuleBook,
    RuleChange,
    RuleVersion,
    ShopRule,
    pack_change,
    unpack_change,
)
from vrec.serving.rules.errors import RuleConflict, RuleLimit, UnknownRule
from vrec.serving.rules.follower import RECORDS_PER_CALL, RuleFollower

MAX_RULES = 200
"""Maximum number of rules, past and future ones included."""
ATTEMPTS = 20
"""Attempts of a change, each of which fails if another rule is changed meanwhile."""
PREVIEW_TIMEOUT_S = 60.0
"""Seconds that a preview may take."""


class RuleOperations:
    """Rules of the shop, as one HTTP replica changes and reads them."""

    def __init__(
        self, profiles: ProfilesHandle, ranking: RankingHandle, follower: RuleFollower, timeout_s: float
    ) -> None:
        """Build it over handles, the rules that this replica follows, and the seconds a call may take."""
        self._profiles, self._ranking, self._follower = profiles, ranking, follower
        self._timeout_s = timeout_s

    async def book(self) -> RuleBook:
        """Return all rules, with every change acknowledged before by any replica."""
        return await await_reply(self._follower.follow(), self._timeout_s)

    async def change(self, change: RuleChange, expected: RuleExpectation) -> RuleVersion:
        """Put or remove a rule durably; all answers of this replica have the change from now on.

        Raises:
            UnknownRule: The rule to remove does not exist.
            RuleConflict: The rule is not as expected: somebody else has changed it.
            RuleLimit: There are MAX_RULES rules already.
        """
        for _ in range(ATTEMPTS):
            book = await self.book()
            _check(book, change, expected)
            call = self._profiles.append_record.remote(RULES_LOG, pack_change(change), book.number, None)
            number = await await_reply(call, self._timeout_s)
            if number is not None:
                await await_reply(self._follower.reach(number), self._timeout_s)
                return RuleVersion(number, change)
        raise BackendUnavailable("rules are changed faster than one can be written")

    async def history(self, rule_id: str) -> list[RuleVersion]:
        """Return all changes of a rule, the last first; none for a rule that never was."""
        found: list[RuleVersion] = []
        number = 0
        while True:
            call = self._profiles.records_after.remote(RULES_LOG, number, RECORDS_PER_CALL)
            records = await await_reply(call, self._timeout_s)
            for number, record in records:
                change = unpack_change(number, record)
                if change is not None and change.rule_id == rule_id:
                    found.append(RuleVersion(number, change))
            if len(records) < RECORDS_PER_CALL:
                return found[::-1]

    async def preview(
        self, queries: Sequence[RecommendQuery], rule_id: str, rule: ShopRule | None
    ) -> list[tuple[ListResult, ListResult]]:
        """Return the lists of requests as they are, and as they would be with a rule put or removed.

        Nothing is stored, counted or logged.
        """
        book = await self.book()
        call = self._ranking.preview.remote(queries, rule_id, rule, ReadPosition(None, book.number))
        return await await_reply(call, PREVIEW_TIMEOUT_S)


def _check(book: RuleBook, change: RuleChange, expected: RuleExpectation) -> None:
    """Raise if the rules do not allow a change."""
    present, name = book.versions.get(change.rule_id), change.rule_id
    if present is None:
        if change.rule is None:
            raise UnknownRule(f"there is no rule {name}")
        if expected not in ("absent", "any"):
            raise RuleConflict(f"there is no rule {name} any more")
        if len(book.versions) >= MAX_RULES:
            raise RuleLimit(f"there are {MAX_RULES} rules already")
    elif expected == "absent":
        raise RuleConflict(f"there is a rule {name} already, in version {present.number}")
    elif isinstance(expected, frozenset) and present.number not in expected:
        by = f" by {present.change.by}" if present.change.by else ""
        raise RuleConflict(f"the rule {name} has been changed{by}: it is in version {present.number}")
