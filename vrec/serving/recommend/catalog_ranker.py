"""Ranker of a bundle and of the videos that changed since."""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np

from vrec.core.pauses import pause_if_due
from vrec.ranking.base import ProfileRanker
from vrec.ranking.features.arrays import RankingRequest
from vrec.ranking.network_ranker import NetworkRanker
from vrec.ranking.reranking.catalog import RowIndices
from vrec.serving.catalog.updates import changes_to_content
from vrec.serving.messages import CatalogChange
from vrec.serving.recommend.changed_rankers import ChangedRanker, add_ranker


class CatalogRanker:
    """Ranker of a bundle, and rankers of the videos that changed since."""

    def __init__(
        self, ranker: ProfileRanker, encoder: str | None, dim: int, video_ids: Sequence[str]
    ) -> None:
        """Take a bundle's ranker.

        Args:
            ranker: The ranker.
            encoder: Encoder of the bundle's vectors.
            dim: Their length.
            video_ids: (M,) ids of the bundle's videos by their rows.
        """
        self._ranker, self._encoder = ranker, encoder
        self._dim = 0 if isinstance(ranker, NetworkRanker) and not ranker.space.dim else dim
        self._changed: tuple[ChangedRanker, ...] = ()
        """Rankers that know some changed videos each; of one that several know the last one counts."""
        self._rows = None
        """(M,) int32 rows of the bundle's videos in the features of its ranker; None if it has none."""
        if isinstance(ranker, NetworkRanker):
            self._rows = ranker.catalog.find(video_ids).astype(np.int32)

    def with_changes(self, changes: Sequence[CatalogChange]) -> Self:
        """Return another ranker after more changes, one of each video; this one stays as it is."""
        changed = [change for change in changes if change.row is not None]
        if not changed:
            return self
        ids = [change.video_id for change in changed]
        pause_if_due()
        content = changes_to_content(changed, self._encoder, self._dim)
        updated = self._ranker.restricted_to(ids).with_videos(content)
        other = copy(self)
        other._changed = add_ranker(self._changed, ids, updated)
        return other

    def known(self, video_ids: Sequence[str]) -> ProfileRanker:
        """Return a ranker that knows those of some videos that this one knows, as they are now."""
        ranker = self._ranker.restricted_to(video_ids)
        for changed in self._changed:
            if not changed.ids.keys().isdisjoint(video_ids):
                ranker = ranker.restricted_to(video_ids, changed.ranker)
        return ranker

    def of_request(self, request: RankingRequest, rows: RowIndices) -> tuple[ProfileRanker, RankingRequest]:
        """Return the ranker that knows the videos of a request as they are now, and the request for it.

        Args:
            request: The request.
            rows: (C,) rows of its candidates; those of changed videos come after the bundle's.
        """
        ranker, ids = self._ranker, request.video_ids
        if self._changed:
            needed = dict.fromkeys((*ids, *(one.video_id for one in request.user.history)))
            for changed in self._changed:
                if not changed.ids.keys().isdisjoint(needed):
                    ranker = ranker.restricted_to(list(needed), changed.ranker)
        if ranker is self._ranker and self._rows is not None and (rows < len(self._rows)).all():
            request = replace(request, rows=self._rows[rows])
        return ranker, request
