"""Links of shoppers to their accounts in other domains, in the states of a store."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgpack

from vrec.core.errors import StoreError, VrecError
from vrec.core.schema import DOMAIN_PREFIX
from vrec.core.state_protocols import StateTable

LINKS_TABLE = "links"
"""Table of the store with the links."""
ATTEMPTS = 50
"""Attempts of a change, each of which fails if another process changes the same link meanwhile."""
FORMAT = 1
"""First value of every state of the table; others are refused."""
_SHOPPER, _ACCOUNT = "shopper:", "account:"


class LinkTaken(VrecError):
    """Link that another one forbids."""

    fix = "revoke the other link first"

    def __init__(self, message: str, *, is_own: bool) -> None:
        """Make it; `is_own` tells whether the other link is of the same shopper."""
        super().__init__(message)
        self.is_own = is_own


class UnknownLink(VrecError):
    """Link that there never was."""

    fix = "list the links of the shopper"


class StateReader(Protocol):
    """Part of a StateTable that reads."""

    def states(self, table: str, keys: Sequence[str]) -> dict[str, tuple[int, bytes]]:
        """Return the versions and states of the keys that have one."""
        ...


@dataclass(frozen=True, slots=True)
class AccountLink:
    """Link of a shopper to an account in another domain; the columns of LINKS."""

    user_id: str
    other_domain: str
    other_user_id: str
    consented_at: int
    """µs since 1970."""
    revoked_at: int | None = None
    """µs since 1970; None while it holds."""

    @property
    def account(self) -> str:
        """User id of the account in events and profiles."""
        return account_key(self.other_domain, self.other_user_id)


def account_key(domain: str, user_id: str) -> str:
    """Return the user id of an account in another domain, as events and profiles have it."""
    return f"{DOMAIN_PREFIX}{domain}:{user_id}"


def domain_of(user_id: str) -> str | None:
    """Return the domain of a user id that is of an account in another one; None for those of the shop."""
    if not user_id.startswith(DOMAIN_PREFIX):
        return None
    return user_id.removeprefix(DOMAIN_PREFIX).partition(":")[0]


class LinkTable:
    """Links in the states of a store.

    A shopper has one account in a domain, and an account one shopper. Of each shopper there is a state that
    names the account in each domain, and of each account one that names its shopper. A link holds while both
    name each other and the account's state is not revoked: one write makes it hold, and one ends it.
    """

    def __init__(self, table: StateTable) -> None:
        self._table = table

    def add(self, link: AccountLink) -> tuple[AccountLink, bool]:
        """Make a link hold, durably.

        Returns:
            The link that holds now, and whether it is new; one that held already stays as it was.

        Raises:
            LinkTaken: The account is linked to another shopper, or the shopper to another account there.
        """
        for _ in range(ATTEMPTS):
            shopper, account = _SHOPPER + link.user_id, _ACCOUNT + link.account
            states = self._table.states(LINKS_TABLE, [shopper, account])
            (version, named), (claimed, claim) = _named(states, shopper), _claim(states, account)
            present = named.get(link.other_domain)
            if present not in (None, link.other_user_id) and self._held(link.user_id, link.other_domain):
                raise LinkTaken(f"the shopper has another account in {link.other_domain}", is_own=True)
            if claim is not None and claim.revoked_at is None and self._is_named(claim):
                if claim.user_id == link.user_id:
                    return claim, False
                raise LinkTaken(f"the account in {link.other_domain} is another shopper's", is_own=False)
            if present != link.other_user_id:
                named = {**named, link.other_domain: link.other_user_id}
                if self._put(shopper, _pack(named), version) is None:
                    continue
            number = self._put(account, _pack_claim(link), claimed)
            if number is None:
                continue
            if self._is_named(link):
                return link, True
            # Another account of the shopper was linked meanwhile.
            self._table.drop_state(LINKS_TABLE, account, number)
        raise StoreError(f"the links of {link.user_id} are changed faster than they can be written")

    def revoke(self, user_id: str, domain: str, at: int) -> AccountLink:
        """End a shopper's link to a domain durably, and return it; one that has ended stays as it was.

        Raises:
            UnknownLink: The shopper never had an account in the domain, or it is another shopper's by now.
        """
        for _ in range(ATTEMPTS):
            version, claim = self._claim_of(user_id, domain)
            if claim is None:
                raise UnknownLink(f"{user_id} is not linked to an account in {domain}")
            if claim.revoked_at is not None:
                return claim
            ended = replace(claim, revoked_at=max(at, claim.consented_at))
            if self._put(_ACCOUNT + claim.account, _pack_claim(ended), version) is not None:
                return ended
        raise StoreError(f"the links of {user_id} are changed faster than they can be written")

    def revoke_all(self, user_id: str, at: int) -> None:
        """End all links of a shopper durably."""
        for link in self.of(user_id):
            if link.revoked_at is None:
                self.revoke(user_id, link.other_domain, at)

    def of(self, user_id: str) -> list[AccountLink]:
        """Return a shopper's links, those that were revoked too, by domain."""
        return _claims(self._table, user_id)

    def after(self, version: int, limit: int) -> tuple[list[AccountLink], int]:
        """Return links of all shoppers by their last change, those that were revoked too.

        Args:
            version: The number that the last call returned; 0 at first.
            limit: Number of states that are read.

        Returns:
            The links, and the number for the next call; 0 at the end.
        """
        rows = self._table.states_after(LINKS_TABLE, version, limit)
        claims = [_unpack_claim(key, state) for _, key, state in rows if key.startswith(_ACCOUNT)]
        named = [claim for claim in claims if self._is_named(claim)]
        return named, rows[-1][0] if len(rows) == limit else 0

    def forget(self, user_id: str) -> None:
        """Remove all links of a shopper, or those to an account in another domain, durably."""
        if domain_of(user_id) is not None:
            self._forget_account(user_id)
            return
        for _ in range(ATTEMPTS):
            version, named = self._named(user_id)
            if not version:
                return
            for domain in named:
                claimed, claim = self._claim_of(user_id, domain)
                if claim is not None:
                    self._table.drop_state(LINKS_TABLE, _ACCOUNT + claim.account, claimed)
            left = any(self._claim_of(user_id, domain)[1] for domain in named)
            if not left and self._table.drop_state(LINKS_TABLE, _SHOPPER + user_id, version):
                return
        raise StoreError(f"the links of {user_id} are changed faster than they can be removed")

    def rename(self, user_id: str, new_id: str) -> None:
        """Give a shopper, or an account in another domain, another id in all its links, durably.

        A link holds all the time, under one id or the other. Renaming one again changes nothing; links of the
        new id that there are already stay.
        """
        if user_id == new_id:
            return
        rename = self._shopper_renamed if domain_of(user_id) is None else self._account_renamed
        for _ in range(ATTEMPTS):
            if rename(user_id, new_id):
                return
        raise StoreError(f"the links of {new_id} are changed faster than they can be written")

    def _shopper_renamed(self, user_id: str, new_id: str) -> bool:
        version, named = self._named(user_id)
        if not version:
            return True
        expected, present = self._named(new_id)
        if self._put(_SHOPPER + new_id, _pack({**named, **present}), expected) is None:
            return False
        for domain, other in named.items():
            claimed, claim = self._claim_of(user_id, domain)
            if claim is None:
                continue
            key = _ACCOUNT + claim.account
            if present.get(domain, other) != other:
                # The new id has another account there by now: this link is over.
                done = self._table.drop_state(LINKS_TABLE, key, claimed)
            else:
                done = self._put(key, _pack_claim(replace(claim, user_id=new_id)), claimed) is not None
            if not done:
                return False
        return self._table.drop_state(LINKS_TABLE, _SHOPPER + user_id, version)

    def _account_renamed(self, account: str, new_account: str) -> bool:
        key, new_key = _ACCOUNT + account, _ACCOUNT + new_account
        states = self._table.states(LINKS_TABLE, [key, new_key])
        claimed, claim = _claim(states, key)
        if claim is None:
            return True
        expected, present = _claim(states, new_key)
        other = new_account.removeprefix(DOMAIN_PREFIX).partition(":")[2]
        moved = replace(claim, other_user_id=other)
        if (present is None or present.user_id == claim.user_id) and (
            self._put(new_key, _pack_claim(moved), expected) is None
        ):
            return False
        version, named = self._named(claim.user_id)
        if named.get(claim.other_domain) == claim.other_user_id:
            renamed = _pack({**named, claim.other_domain: other})
            if self._put(_SHOPPER + claim.user_id, renamed, version) is None:
                return False
        return self._table.drop_state(LINKS_TABLE, key, claimed)

    def _forget_account(self, account: str) -> None:
        for _ in range(ATTEMPTS):
            key = _ACCOUNT + account
            claimed, claim = _claim(self._table.states(LINKS_TABLE, [key]), key)
            if claim is None:
                return
            version, named = self._named(claim.user_id)
            if named.get(claim.other_domain) == claim.other_user_id:
                rest = {name: other for name, other in named.items() if name != claim.other_domain}
                shopper = _SHOPPER + claim.user_id
                if rest:
                    done = self._put(shopper, _pack(rest), version) is not None
                else:
                    done = self._table.drop_state(LINKS_TABLE, shopper, version)
                if not done:
                    continue
            if self._table.drop_state(LINKS_TABLE, key, claimed):
                return
        raise StoreError("the links of an account are changed faster than they can be removed")

    def _held(self, user_id: str, domain: str) -> bool:
        claim = self._claim_of(user_id, domain)[1]
        return claim is not None and claim.revoked_at is None

    def _is_named(self, claim: AccountLink) -> bool:
        return self._named(claim.user_id)[1].get(claim.other_domain) == claim.other_user_id

    def _named(self, user_id: str) -> tuple[int, Mapping[str, str]]:
        key = _SHOPPER + user_id
        return _named(self._table.states(LINKS_TABLE, [key]), key)

    def _claim_of(self, user_id: str, domain: str) -> tuple[int, AccountLink | None]:
        """Return the version and claim of the account that a shopper names, if it is the shopper's."""
        other = self._named(user_id)[1].get(domain)
        if other is None:
            return 0, None
        key = _ACCOUNT + account_key(domain, other)
        version, claim = _claim(self._table.states(LINKS_TABLE, [key]), key)
        return (version, claim) if claim is not None and claim.user_id == user_id else (0, None)

    def _put(self, key: str, state: bytes, expected: int) -> int | None:
        return self._table.put_state(LINKS_TABLE, key, state, expected=expected)


def linked_accounts(reader: StateReader, user_id: str, domains: Collection[str]) -> dict[str, str]:
    """Return the user id of a shopper's account in each domain to which a link holds, by domain.

    Args:
        reader: Reader of the store's states.
        user_id: The shopper.
        domains: Domains that are of interest.
    """
    claims = _claims(reader, user_id, domains)
    return {claim.other_domain: claim.account for claim in claims if claim.revoked_at is None}


def shoppers_of_accounts(reader: StateReader, accounts: Sequence[str]) -> dict[str, str]:
    """Return the shopper of each account in another domain to which a link holds, by the account's user id.

    Args:
        reader: Reader of the store's states.
        accounts: User ids of accounts, as `account_key` makes them.
    """
    keys = {_ACCOUNT + account: account for account in accounts}
    claims = {
        keys[key]: _unpack_claim(key, state)
        for key, (_, state) in reader.states(LINKS_TABLE, list(keys)).items()
    }
    held = {account: claim for account, claim in claims.items() if claim.revoked_at is None}
    shoppers = {_SHOPPER + claim.user_id: claim.user_id for claim in held.values()}
    named = reader.states(LINKS_TABLE, list(shoppers)) if shoppers else {}
    return {
        account: claim.user_id
        for account, claim in held.items()
        if _named(named, _SHOPPER + claim.user_id)[1].get(claim.other_domain) == claim.other_user_id
    }


def _claims(reader: StateReader, user_id: str, domains: Collection[str] | None = None) -> list[AccountLink]:
    """Return a shopper's links by domain, at most those to `domains`."""
    shopper = _SHOPPER + user_id
    named = _named(reader.states(LINKS_TABLE, [shopper]), shopper)[1]
    wanted = sorted(named if domains is None else named.keys() & domains)
    if not wanted:
        return []
    keys = [_ACCOUNT + account_key(domain, named[domain]) for domain in wanted]
    states = reader.states(LINKS_TABLE, keys)
    claims = [_claim(states, key)[1] for key in keys]
    return [claim for claim in claims if claim is not None and claim.user_id == user_id]


def _named(states: Mapping[str, tuple[int, bytes]], key: str) -> tuple[int, Mapping[str, str]]:
    """Return the version of a shopper's state, 0 without one, and the account in each domain."""
    version, state = states.get(key, (0, b""))
    return version, _unpack(state) if version else {}


def _claim(states: Mapping[str, tuple[int, bytes]], key: str) -> tuple[int, AccountLink | None]:
    """Return the version of an account's state, 0 without one, and the state."""
    version, state = states.get(key, (0, b""))
    return version, _unpack_claim(key, state) if version else None


def _pack_claim(link: AccountLink) -> bytes:
    return _pack([link.user_id, link.consented_at, link.revoked_at])


def _unpack_claim(key: str, state: bytes) -> AccountLink:
    domain, _, other = key.removeprefix(_ACCOUNT + DOMAIN_PREFIX).partition(":")
    user_id, consented_at, revoked_at = _unpack(state)
    return AccountLink(user_id, domain, other, consented_at, revoked_at)


def _pack(value: Any) -> bytes:
    packed = msgpack.packb((FORMAT, value))
    assert packed is not None  # it is None for streaming packers only
    return packed


def _unpack(state: bytes) -> Any:
    form, value = msgpack.unpackb(state)
    if form != FORMAT:
        raise StoreError(
            "the store holds links that this version of vrec cannot read",
            fix="open the store with the version of vrec that wrote it, or restore it from a backup",
        )
    return value
