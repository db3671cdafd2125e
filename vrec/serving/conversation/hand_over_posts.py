"""Posting of hand-overs to the shop's address until it confirms them."""

import asyncio
import hashlib
import hmac
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from vrec.assistant.connectors.config import HandOverConfig
from vrec.assistant.connectors.json_calls import CallFailed, JsonCaller
from vrec.core.errors import ServeError
from vrec.core.schema import SESSION_PREFIX
from vrec.core.secrets import read_secret
from vrec.serving.conversation.hand_overs import HandOver, HandOverTable, WaitingHandOver

logger = logging.getLogger("ray.serve")

SIGNATURE_HEADER = "X-Vrec-Signature"
ID_HEADER = "X-Vrec-Hand-Over"
MIN_SECRET_CHARS = 32
LONGEST_WAIT_S = 300.0
"""Longest time between two attempts of one hand-over."""
LOOK_S = 5.0
"""Seconds between two looks at the store, where other processes may have added some."""
FAILURES_AT_ONCE = 3
"""Failures in a row after which the others wait for the next look."""
LEASE_S = 15.0
"""Seconds, besides the timeout, for which a process that posts a hand-over keeps others from it; one whose
process died while it posted waits as long."""


def sign_hand_over(body: bytes, secret: str, at: int) -> str:
    """Return the signature of a post: `t=SECONDS,v1=HEX`, the HMAC-SHA-256 of `SECONDS.BODY`.

    Args:
        body: The body.
        secret: Secret of the shop and the service.
        at: Seconds since 1970.
    """
    signed = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256)
    return f"t={at},v1={signed.hexdigest()}"


def hand_over_secret(config: HandOverConfig, environment: Mapping[str, str] | None = None) -> str:
    """Return the secret that signs posts; "" where there is no address.

    Raises:
        ServeError: There is an address and no secret, or a short one.
    """
    if config.url is None:
        return ""
    secret = read_secret(config.secret_variable, os.environ if environment is None else environment)
    if len(secret) < MIN_SECRET_CHARS:
        raise ServeError(
            f"{config.secret_variable} has fewer than {MIN_SECRET_CHARS} characters, "
            "and serve.assistant.handover.url needs a secret to sign with",
            fix="make one with `openssl rand -hex 32`, put it into the variable and give it to the address",
        )
    return secret


def hand_over_body(hand_over: HandOver) -> dict[str, Any]:
    """Return a hand-over as JSON-like values, for posts and for `GET /v1/hand-overs`."""
    session = hand_over.user_id.startswith(SESSION_PREFIX)
    return {
        "hand_over_id": hand_over.hand_over_id,
        "at": _time(hand_over.at),
        "user_id": None if session else hand_over.user_id,
        "session_id": hand_over.user_id.removeprefix(SESSION_PREFIX) if session else None,
        "reason": hand_over.reason,
        "language": hand_over.language,
        "turns": [
            {"at": _time(t.at), "message": t.message, "answer": t.answer, "video_ids": list(t.video_ids)}
            for t in hand_over.turns
        ],
    }


class HandOverPosts:
    """Posts of the hand-overs of one store. Each is repeated until it is confirmed, so it may come twice."""

    def __init__(self, table: Callable[[], HandOverTable], config: HandOverConfig, secret: str) -> None:
        """Build it.

        Args:
            table: Function that returns the store's table.
            config: Settings with a `url`.
            secret: Secret that signs.
        """
        assert config.url is not None
        self._table, self._config, self._secret = table, config, secret
        self._caller = JsonCaller(config.url, config.timeout_s, 0)
        self._added = asyncio.Event()

    def wake(self) -> None:
        """Let `run` look at once: there is another hand-over."""
        self._added.set()

    async def run(self) -> None:
        """Post what waits, for ever."""
        while True:
            self._added.clear()
            wait_s = LOOK_S
            try:
                wait_s = await self.post_due()
            except Exception as error:  # the next look tries again
                logger.warning("cannot look for hand-overs", extra={"why": str(error)[:300]})
            try:
                async with asyncio.timeout(min(wait_s, LOOK_S)):
                    await self._added.wait()
            except TimeoutError:
                pass

    async def post_due(self) -> float:
        """Post the hand-overs that are due, and return the seconds until the next one is.

        Raises:
            StoreError: The store cannot be read or written.
        """
        failed, next_us = 0, _now_us() + int(LONGEST_WAIT_S * 1e6)
        for one in await asyncio.to_thread(self._table().waiting):
            if one.due_at > _now_us() or failed == FAILURES_AT_ONCE:
                next_us = min(next_us, one.due_at)
                continue
            due_at = await self._post(one)
            failed = 0 if due_at is None else failed + 1
            next_us = min(next_us, due_at or next_us)
        return max(0.05, (next_us - _now_us()) / 1e6)

    async def close(self) -> None:
        """Close all connections."""
        await self._caller.close()

    async def _post(self, one: WaitingHandOver) -> int | None:
        """Post a hand-over, and return the time of the next attempt if this one failed."""
        table = self._table()
        until = _now_us() + int((self._config.timeout_s + LEASE_S) * 1e6)
        claimed = await asyncio.to_thread(table.claim, one, until)
        found = await asyncio.to_thread(table.find, one.hand_over_id)
        if claimed is None:
            return None  # another process has it
        if found is not None and found.confirmed_at is None:
            try:
                await self._send(found)
            except CallFailed as error:
                due_at = _now_us() + int(min(2 ** min(one.attempts, 20), LONGEST_WAIT_S) * 1e6)
                await asyncio.to_thread(table.postpone, claimed, due_at)
                extra = {"hand_over": one.hand_over_id, "attempt": one.attempts + 1, "why": str(error)[:300]}
                logger.warning("a hand-over is not confirmed yet", extra=extra)
                return due_at
        await asyncio.to_thread(table.confirm, claimed, _now_us())
        return None

    async def _send(self, hand_over: HandOver) -> None:
        body = json.dumps(hand_over_body(hand_over), ensure_ascii=False).encode("utf-8", "replace")
        signature = sign_hand_over(body, self._secret, int(time.time()))
        headers = {SIGNATURE_HEADER: signature, ID_HEADER: hand_over.hand_over_id}
        await self._caller.post(body, headers, read=False)


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat()


def _now_us() -> int:
    return time.time_ns() // 1000
