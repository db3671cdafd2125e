"""Profiles of shoppers whose accounts in other domains count too, combined when they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vrec.events.interactions import DAY_US
from vrec.profiles.links import StateReader, linked_accounts
from vrec.profiles.profile import Entity, Profile, ProfileVector
from vrec.profiles.user import INTERESTS, TASTE_AT, TASTE_WEIGHT

Part = tuple[Profile, float]
"""Profile, and the factor by which what it shows of interest counts."""


class ShopperReader(StateReader, Protocol):
    """Store, or a reader of one, with profiles and links."""

    def get(self, kind: Entity, ids: Sequence[str]) -> dict[str, Profile]:
        """Return profiles of users or videos by id."""
        ...


@dataclass(frozen=True, eq=False)
class LinkedProfile(Profile):
    """Profile of a shopper together with those of linked accounts.

    `vector`, the interest in categories and `history` are of all of them. In the history the shopper's own
    events are the newest ones, so that however much is watched elsewhere, what keeps the newest ones keeps
    the shop's. Whatever else the profile says is the shopper's own.
    """

    own: Profile | None = None
    """The shopper's own profile."""
    others: tuple[Part, ...] = ()
    """Profiles of the accounts with factors above 0, by domain."""


def history_parts(profile: Profile) -> Sequence[Part]:
    """Return the profiles whose histories count for a shopper, the own one first with factor 1."""
    if isinstance(profile, LinkedProfile):
        return (own_profile(profile), 1.0), *profile.others
    return ((profile, 1.0),)


def own_profile(profile: Profile) -> Profile:
    """Return a shopper's own profile without the linked accounts."""
    return profile.own if isinstance(profile, LinkedProfile) and profile.own is not None else profile


def read_shopper(
    reader: ShopperReader, user_id: str, factors: Mapping[str, float], half_life_days: float | None
) -> Profile | None:
    """Return a shopper's profile with those of the accounts to which a link holds; None without any event.

    Args:
        reader: Reader of the store.
        user_id: The shopper, or a session.
        factors: Factor on what is watched in each other domain; those of 0 are not read.
        half_life_days: Half-life of the taste; None without decay.
    """
    own = reader.get("user", [user_id]).get(user_id)
    domains = [name for name, factor in factors.items() if factor > 0]
    if not domains:
        return own
    owner = user_id if own is None else own.entity_id
    accounts = linked_accounts(reader, owner, domains)
    found = reader.get("user", list(accounts.values())) if accounts else {}
    others = [(found[key], factors[domain]) for domain, key in sorted(accounts.items()) if key in found]
    if not others:
        return own
    return combine_profiles(own or Profile("user", owner), others, half_life_days)


def combine_profiles(own: Profile, others: Sequence[Part], half_life_days: float | None) -> LinkedProfile:
    """Return a shopper's profile with those of accounts in other domains.

    Args:
        own: The shopper's own profile.
        others: Profiles of the accounts, and factors above 0.
        half_life_days: Half-life of the taste; None without decay.
    """
    counts = dict(own.counts)
    for other, factor in others:
        for key, count in other.counts.items():
            if key == INTERESTS or key.startswith("category:"):
                counts[key] = counts.get(key, 0.0) + factor * count
    scaled = sorted(
        entry._replace(weight=weight)
        for other, factor in others
        for entry in other.history
        if (weight := float(np.float32(factor * entry.weight))) > 0
    )
    vector = _combined_taste(((own, 1.0), *others), counts, half_life_days)
    return LinkedProfile(
        own.entity, own.entity_id, vector, counts, own.seen, (*scaled, *own.history), own, tuple(others)
    )


def _combined_taste(
    parts: Sequence[Part], counts: dict[str, float], half_life_days: float | None
) -> ProfileVector | None:
    """Return the sum of taste vectors, decayed to the latest of their times; set their counts in `counts`.

    A vector of another length than the first one is left out: it is of an encoder of before.
    """
    known = [(one, factor) for one, factor in parts if one.vector is not None and TASTE_AT in one.counts]
    if not known:
        return parts[0][0].vector
    latest, weight = max(one.counts[TASTE_AT] for one, _ in known), 0.0
    total: np.ndarray | None = None
    for one, factor in known:
        assert one.vector is not None  # as selected above
        if total is not None and total.shape != one.vector.shape:
            continue
        days = (latest - one.counts[TASTE_AT]) / DAY_US
        share = factor if half_life_days is None else factor * float(np.exp2(-days / half_life_days))
        more = share * one.vector.astype(np.float64)
        total = more if total is None else total + more
        weight += share * one.counts[TASTE_WEIGHT]
    assert total is not None  # the first one is in it
    counts[TASTE_AT], counts[TASTE_WEIGHT] = latest, weight
    return total.astype(np.float32)
