"""Random numbers of a request, seeded by what the request is, so that its answer can be repeated."""

from hashlib import sha256

import numpy as np

from vrec.serving.messages import RecommendQuery

MINUTE_US = 60_000_000


def candidate_rng(query: RecommendQuery, rotation_minutes: int) -> np.random.Generator:
    """Return the random numbers that choose a shopper's hardly shown candidates.

    They depend on the shopper and on the period of `rotation_minutes` in which the request lies, and not on
    the request id. So over all requests that a shopper could make at a moment the candidates are the same,
    and the propensities of exploration, which are given the candidates, are the whole truth.
    """
    period = query.at // (rotation_minutes * MINUTE_US)
    return _seeded("candidates", query.user_id, str(period))


def exploration_rng(query: RecommendQuery) -> np.random.Generator:
    """Return the random numbers of a request's exploration; equal ids give a shopper equal draws.

    Each page of a list has draws of its own.
    """
    page = (str(len(query.shown)),) if query.shown else ()
    return _seeded("exploration", query.user_id, query.surface, query.request_id, *page)


def _seeded(*parts: str) -> np.random.Generator:
    # Lengths keep ("a", "bc") apart from ("ab", "c").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    digest = sha256(text.encode(errors="surrogatepass")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
