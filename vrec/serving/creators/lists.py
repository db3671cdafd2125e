"""Lists of creators for a shopper: who may be in them, their scores, and the choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from vrec.config.creators import CreatorListsConfig
from vrec.profiles.profile import Profile
from vrec.profiles.user import followed_creators, taste_vector
from vrec.ranking.reranking.catalog import Floats, RowIndices
from vrec.ranking.reranking.eligibility_rules import EligibilityRulesConfig
from vrec.serving.catalog.columns import Mask
from vrec.serving.creators.choice import choose_creators
from vrec.serving.creators.figures import creator_interest, standardized
from vrec.serving.creators.table import CreatorTable
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend.draws import exploration_rng
from vrec.serving.recommend.eligibility import shopper_context

CreatorKind = Literal["creator", "streamer"]
"""Who is recommended: all creators, or those who have live streams."""


ScoreSource = Literal["watched", "model", "content", "quality"]
"""What a score is made of besides the quality: the shopper's own interest in the creator, the recommender of
creators, the cosine to the taste, or nothing."""


@dataclass(frozen=True, slots=True)
class RankedCreator:
    """Creator of a list."""

    creator_id: str
    score: float
    """Score in standard deviations, without noise."""
    propensity: float
    """Probability of this creator in this place given those before."""
    source: ScoreSource
    is_new: bool
    """Whether the creator has had few impressions."""


def creators_for(
    query: RecommendQuery,
    kind: CreatorKind,
    user: Profile,
    table: CreatorTable,
    config: CreatorListsConfig,
    *,
    rules: EligibilityRulesConfig,
    bans: Sequence[Mask] = (),
) -> tuple[RankedCreator, ...]:
    """Return at most `query.k` creators whom a shopper may want to follow, best first.

    Creators that the shopper follows, has hidden or blocked, or that `query.filters.exclude` names, are left
    out, and so is everyone without a video that passes the rules, bans and filters.

    Args:
        query: The request; its filters are those of the creators' videos.
        kind: Who is recommended.
        user: The shopper's profile.
        table: The creators.
        config: Settings.
        rules: The hard rules of the surface.
        bans: (N,) masks of videos that the shop bans.
    """
    rows = np.flatnonzero(_eligible(query, kind, user, table, rules=rules, bans=bans))
    if not len(rows):
        return ()
    means, sources = _scores(user, table, rows, config)
    impressions, few = table.impressions[rows], config.new_impressions
    is_new = impressions < few
    deviations = config.exploration * np.sqrt(few / (few + impressions))
    rng = exploration_rng(query)
    chosen = choose_creators(means, deviations, is_new, k=query.k, new_share=config.new_share, rng=rng)
    names = table.named(rows)
    return tuple(
        RankedCreator(names[n], float(means[n]), chance, sources[n], bool(is_new[n])) for n, chance in chosen
    )


def _eligible(
    query: RecommendQuery,
    kind: CreatorKind,
    user: Profile,
    table: CreatorTable,
    *,
    rules: EligibilityRulesConfig,
    bans: Sequence[Mask],
) -> Mask:
    """Return the (C,) mask of the creators that may be in the list."""
    snapshot, catalog = table.snapshot, table.snapshot.catalog
    shopper = shopper_context(user, replace(query.filters, exclude=frozenset()), query.age)
    mask = snapshot.eligible_mask(shopper, rules, query.at) & (catalog.creator >= 0)
    if (wanted := snapshot.filter_mask(query.filters)) is not None:
        mask &= wanted
    for ban in bans:
        mask &= ~ban
    if kind == "streamer":
        mask &= table.streaming
    hidden = catalog.find(list(shopper.blocked_videos))
    mask[hidden[hidden >= 0]] = False
    found = np.bincount(catalog.creator[mask], minlength=len(table.names)) > 0
    # Hidden and blocked creators have no eligible video.
    out = followed_creators(user) | query.filters.exclude
    found[[code for code, name in enumerate(table.names) if name in out]] = False
    return found


def _scores(
    user: Profile, table: CreatorTable, rows: RowIndices, config: CreatorListsConfig
) -> tuple[Floats, list[ScoreSource]]:
    """Return the (R,) scores of creators at rows of the table, and what each is made of."""
    names = table.named(rows)
    interest = creator_interest(user)
    watched = np.array([interest.get(name, 0.0) for name in names])
    scores = table.figures.model_scores(user, names)
    taste = taste_vector(user)
    cosines = np.zeros(len(rows))
    if taste is not None and len(taste) == table.vectors.shape[1] and np.isfinite(taste).all():
        cosines = table.vectors[rows].astype(np.float64) @ taste
    by_content = standardized(cosines)
    by_model = np.zeros(len(rows)) if scores is None else standardized(scores)
    known = np.zeros(len(rows), np.bool_) if scores is None else ~np.isnan(scores)
    means = np.where(known, by_model, by_content) + np.log1p(watched) + config.quality * table.quality[rows]
    order: tuple[ScoreSource, ...] = ("watched", "model", "content", "quality")
    holds = np.stack([watched > 0, known, cosines != 0, np.ones(len(rows), np.bool_)])
    return means, [order[first] for first in holds.argmax(axis=0).tolist()]
