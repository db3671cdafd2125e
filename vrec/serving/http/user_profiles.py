"""Profiles of shoppers in plain words."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from statistics import median
from typing import Any

from vrec.profiles.profile import Profile
from vrec.profiles.user import INTERESTS, WATCH_S, hidden_videos, last_purchases
from vrec.serving.deployments.protocol import Card

MAX_TAGS, MAX_HOURS, MAX_INTERESTS = 5, 3, 50
NAMED_INTERESTS = 3
"""Categories and creators that a sentence names."""


def describe_user(profile: Profile, cards: Mapping[str, Card], currency: str) -> dict[str, Any]:
    """Return the fields of `UserResponse` that describe a profile.

    Args:
        profile: A user's profile.
        cards: Rows of VIDEOS by id, of those in the profile's history that are known.
        currency: Currency of the prices.
    """
    found: dict[str, Any] = {
        "user_id": profile.entity_id,
        "counts": {name: int(n) for name, n in counts_of(profile, "event:")},
        "watched_s": max(0.0, profile.counts.get(WATCH_S, 0.0)),
        "active_hours": [int(hour) for hour, _ in counts_of(profile, "hour:")[:MAX_HOURS]],
        "categories": _interests(profile, "category:"),
        "creators": _interests(profile, "creator:"),
        "taste": _taste([cards[entry.video_id] for entry in profile.history if entry.video_id in cards]),
        "bought": _latest_first(last_purchases(profile)),
        "hidden": sorted(hidden_videos(profile)),
    }
    found["events"] = sum(found["counts"].values())
    return {"summary": _sentences(found, currency), **found}


def counts_of(profile: Profile, prefix: str) -> list[tuple[str, float]]:
    """Return the names and values of a profile's counts above 0 with a prefix, the largest first."""
    items = ((key.removeprefix(prefix), n) for key, n in profile.counts.items() if key.startswith(prefix))
    return sorted(((name, n) for name, n in items if n > 0), key=lambda pair: (-pair[1], pair[0]))


def _interests(profile: Profile, prefix: str) -> list[dict[str, Any]]:
    total = profile.counts.get(INTERESTS, 0.0)
    items = [
        (key.removeprefix(prefix), n) for key, n in profile.counts.items() if key.startswith(prefix) and n
    ]
    items.sort(key=lambda pair: (-pair[1], pair[0]))
    return [
        {"name": name, "interest": n, "share": min(1.0, n / total) if n > 0 and total > 0 else None}
        for name, n in items[:MAX_INTERESTS]
    ]


def _taste(cards: Sequence[Card]) -> dict[str, Any]:
    prices = [card["price"] for card in cards if card.get("price") is not None]
    lengths = [card["duration_s"] for card in cards if card.get("duration_s") is not None]
    return {
        "videos": len({card["video_id"] for card in cards}),
        "tags": _most_frequent(tag for card in cards for tag in card.get("tags") or ())[:MAX_TAGS],
        "typical_price": median(prices) if prices else None,
        "typical_length_s": median(lengths) if lengths else None,
        "languages": _most_frequent(card["language"] for card in cards if card.get("language")),
    }


def _most_frequent(names: Any) -> list[str]:
    return [name for name, _ in sorted(Counter(names).items(), key=lambda pair: (-pair[1], pair[0]))]


def _latest_first(times: Mapping[str, int]) -> list[str]:
    return sorted(times, key=lambda name: (-times[name], name))


def _sentences(found: Mapping[str, Any], currency: str) -> list[str]:
    counts, taste, text = found["counts"], found["taste"], list[str]()
    kinds = _listed([f"{n} {kind}" for kind, n in counts.items()])
    text.append(f"{_plural(found['events'], 'event')}: {kinds}.")
    for name in ("categories", "creators"):
        liked = [i for i in found[name] if i["share"] is not None][:NAMED_INTERESTS]
        avoided = [i["name"] for i in reversed(found[name]) if i["interest"] < 0][:NAMED_INTERESTS]
        if liked:
            shares = _listed([f"{i['name']} ({100 * i['share']:.0f} % of the interest)" for i in liked])
            text.append(f"Most liked {name}: {shares}.")
        if avoided:
            text.append(f"Disliked {name}: {_listed(avoided)}.")
    if taste["tags"]:
        text.append(f"Frequent tags: {_listed(taste['tags'])}.")
    if taste["typical_price"] is not None:
        text.append(f"Typical price: {taste['typical_price']:.2f} {currency}.")
    if taste["typical_length_s"] is not None:
        text.append(f"Typical length: {taste['typical_length_s']:.0f} s.")
    if found["bought"]:
        text.append(f"Bought from {_plural(len(found['bought']), 'video')}.")
    if found["hidden"]:
        text.append(f"Does not want to see {_plural(len(found['hidden']), 'video')}.")
    return text


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _listed(names: Collection[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
