"""Profiles and events of those shoppers alone who consent."""

from collections.abc import Iterable, Mapping
from typing import Protocol

from vrec.core.schema import DOMAIN_PREFIX
from vrec.privacy.consent.table import ConsentReader, Purpose, read_answers, read_given
from vrec.profiles.linked import ShopperReader, read_shopper
from vrec.profiles.links import shoppers_of_accounts
from vrec.profiles.profile import Profile


class ConsentedReader(ShopperReader, ConsentReader, Protocol):
    """Store, or a reader of one, with profiles, links and consents."""


def without_consent(
    reader: ConsentReader, user_ids: Iterable[str], purpose: Purpose, *, default: bool
) -> set[str]:
    """Return those among some shoppers who do not consent to a purpose.

    An account in another domain has the answer of the shopper who is linked to it; one that is linked to
    nobody is no shopper of the shop, and consents where it is.

    Args:
        reader: The store, or a reader of it.
        user_ids: Shoppers, sessions and accounts in other domains.
        purpose: The purpose.
        default: Whether a shopper who has not answered consents.
    """
    names = list(dict.fromkeys(user_ids))
    accounts = [name for name in names if name.startswith(DOMAIN_PREFIX)]
    shopper_of = {name: name for name in names}
    if accounts:
        linked = shoppers_of_accounts(reader, accounts)
        of_nobody = set(accounts) - linked.keys()
        shopper_of = {name: linked.get(name, name) for name in names if name not in of_nobody}
    given = read_given(reader, shopper_of.values(), purpose)
    return {name for name, shopper in shopper_of.items() if not given.get(shopper, default)}


def read_consented(
    reader: ConsentedReader,
    user_id: str,
    factors: Mapping[str, float],
    half_life_days: float | None,
    *,
    default: bool,
) -> Profile | None:
    """Return a shopper's profile as `read_shopper` does, as far as the shopper consents.

    Without the purpose `personalise` there is none; without `link` linked accounts do not count.
    """
    answers = read_answers(reader, [user_id]).get(user_id, {})
    given = {purpose: answer.given for purpose, answer in answers.items()}
    if not given.get("personalise", default):
        return None
    if not given.get("link", default):
        factors = {}
    return read_shopper(reader, user_id, factors, half_life_days)
