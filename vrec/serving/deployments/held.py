"""All that a store keeps of a shopper, for whom it may concern: the shopper who asks, and the erasure."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from vrec.privacy.consent.table import ConsentTable
from vrec.profiles.links import LinkTable
from vrec.profiles.profile import Profile
from vrec.profiles.stores.redis.store import RedisStore
from vrec.profiles.stores.sqlite.store import SqliteStore
from vrec.profiles.user import followed_creators
from vrec.serving.conversation.hand_over_posts import hand_over_body
from vrec.serving.conversation.hand_overs import HandOverTable
from vrec.serving.conversation.table import ConversationTable
from vrec.serving.trends.searches import PERIODS_LOG, SEARCHES_LOG, hash_shopper, unpack_searches

HELD_IN = {
    "events": "events",
    "profiles": "profile",
    "sessions": "sessions",
    "links": "links",
    "consents": "consents",
    "conversations": "conversation",
    "hand_overs": "hand_overs",
    "hand_overs_of": "hand_overs",
    "hand_overs_waiting": "hand_overs",
    "searches": "searches",
}
"""Tables and logs of the store that have something of a shopper, and the part of a record in which it is."""
OF_NOBODY = {
    "marks": "secrets of the store",
    "probe": "a row that tells whether the store can be written",
    "records": "the logs",
    "states": "the tables of states",
    "state_versions": "their versions",
    "streams": "live streams",
    "stream_vectors": "contents of live streams",
    "stream_content": "followers of live streams",
    "rules": "rules of the shop",
    "experiment": "A/B tests; arms are computed from ids",
    "privacy_keys": "a code by which the store knows its key",
    "audit": "calls, without the ids of shoppers",
    "erasures": "the fact that there was one",
    "search-periods": "the key of the present period",
    "served-lists": "a sample of lists, by ids of requests and videos",
    "model-hours": "figures of the model by hour",
    "receipts": "counts, without the ids of shoppers",
}
"""All other tables and logs, and what they have."""
RECEIPTS_LOG = "receipts"
"""Log of the store with the receipts of records and erasures."""
FORMAT = 1
"""First value of each receipt; others are left out."""
RECORDS_PER_CALL = 1_000


@dataclass(frozen=True, slots=True)
class ShopperReceipt:
    """Receipt of what was told or erased of a shopper. It does not name the shopper."""

    what: str
    """`access` or `erasure`."""
    at: int
    """µs since 1970."""
    counts: Mapping[str, int]
    """What there was, by kind."""
    sha256: str | None
    """Digest by which whoever has the other half can prove what the receipt is of; None if nobody asked."""
    number: int = field(default=0)
    """Number in the log."""


class HeldRecords:
    """Reader of what a store keeps of shoppers."""

    def __init__(
        self, store: SqliteStore | RedisStore, conversations: ConversationTable, hand_overs: HandOverTable
    ) -> None:
        self._store, self._conversations, self._hand_overs = store, conversations, hand_overs

    def of(self, user_id: str) -> dict[str, Any]:
        """Return all that is kept of a shopper but the events, as JSON values by part."""
        owner = self._store.owners([user_id])[user_id]
        sessions = self._store.sessions_of(owner)
        profile = self._store.get("user", [owner]).get(owner)
        record = self._conversations.read(owner, 0)[1]
        answers = ConsentTable(self._store).of(owner)
        links = LinkTable(self._store).of(owner)
        return {
            "profile": None if profile is None else _profile(profile),
            "follows": [] if profile is None else sorted(followed_creators(profile)),
            "sessions": sessions,
            "consents": [
                {"purpose": purpose, "given": one.given, "at": one.at, "by": one.by}
                for purpose, one in answers.items()
            ],
            "links": [
                {
                    "other_domain": link.other_domain,
                    "other_user_id": link.other_user_id,
                    "consented_at": link.consented_at,
                    "revoked_at": link.revoked_at,
                }
                for link in links
            ],
            "conversation": json.loads(record[1:]) if record else None,
            "hand_overs": [hand_over_body(one) for one in self._hand_overs.of(owner)],
            "searches": self._searches([owner, *sessions]),
        }

    def _searches(self, user_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the searches whose hashes are still known to be a shopper's: those of the present period."""
        last = self._store.records_before(PERIODS_LOG, None, 1)
        if not last:
            return []
        period, (_, key) = last[0][0], msgpack.unpackb(last[0][1])
        mine, found, after = {hash_shopper(key, name) for name in user_ids}, [], 0
        while records := self._store.records_after(SEARCHES_LOG, after, RECORDS_PER_CALL):
            after = records[-1][0]
            sent = [one for _, record in records for one in unpack_searches(record)]
            found += [
                {"text": one.text, "at": one.at}
                for one in sent
                if one.period == period and one.shopper in mine
            ]
        return found


def counts_of(record: Mapping[str, Any]) -> dict[str, int]:
    """Return the numbers of things in a record by part."""
    return {
        name: len(part) if isinstance(part, list) else int(part is not None) for name, part in record.items()
    }


def keep_receipt(
    store: SqliteStore | RedisStore, what: str, counts: Mapping[str, int], sha256: str | None
) -> ShopperReceipt:
    """Write a receipt down, and return it; raises StoreError."""
    at = time.time_ns() // 1000
    packed = msgpack.packb((FORMAT, what, at, dict(counts), sha256))
    assert packed is not None  # it is None for streaming packers only
    number = store.append_record(RECEIPTS_LOG, packed)
    return ShopperReceipt(what, at, counts, sha256, number or 0)


def receipts_before(store: SqliteStore | RedisStore, before: int | None, limit: int) -> list[ShopperReceipt]:
    """Return the last receipts before a number, the latest first; raises StoreError."""
    found: list[ShopperReceipt] = []
    for number, record in store.records_before(RECEIPTS_LOG, before, limit):
        form, *values = msgpack.unpackb(record)
        if form == FORMAT:
            what, at, counts, sha256 = values
            found.append(ShopperReceipt(what, at, counts, sha256, number))
    return found


def _profile(profile: Profile) -> dict[str, Any]:
    return {
        "user_id": profile.entity_id,
        "counts": dict(profile.counts),
        "history": [
            {"video_id": one.video_id, "weight": one.weight, "at": one.at} for one in profile.history
        ],
        "taste": None if profile.vector is None else profile.vector.tolist(),
    }
