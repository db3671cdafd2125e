"""Item-based neighborhood model of one domain that also learns from what its shoppers watch in others."""

from collections.abc import Collection, Mapping
from copy import copy
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.artifact import Arrays
from vrec.core.errors import FitError
from vrec.core.types import CatalogContent
from vrec.retrieval.config import CrossDomainConfig
from vrec.retrieval.domain_weights import DomainChooser, DomainWeight, Lead, near_across, with_popularity
from vrec.retrieval.interaction_matrix import InteractionMatrix, Matrix, to_interactions
from vrec.retrieval.models.item_knn import ItemKnn, similar_videos, video_similarity_task
from vrec.retrieval.similarity_choice import choose_video_formula
from vrec.retrieval.topk import Scores

Domains = npt.NDArray[np.object_]
Rows = npt.NDArray[np.int64]


class CrossDomain(ItemKnn):
    """Item-based neighborhood model of a target domain: Σ weight · similarity over all of the user's videos.

    Videos of the target domain are compared with each other by their users in it alone, as by `ItemKnn`, so
    that users without a history elsewhere get its lists to the bit. A video of another domain is compared
    with those of the target by the users who watched both, and its similarities are multiplied by the weight
    of its domain, by default chosen by held-out interactions of the target; `report` says which, and by what
    lead. The weight is 0 unless the domain pays for users with a history in the target or for newcomers.
    Users without a history in the target get scores, relative to the highest, to which popularity is added
    with a weight that is chosen by users whose history in the target is hidden. Only videos of the target are
    recommended. Merging both domains for a neighborhood model is the simplest of the
    baselines that cross-domain models are measured by (Zhu et al. 2021, "Cross-Domain Recommendation:
    Challenges, Progress, and Prospects").

    The domain of a video is `VIDEOS.domain`; a video without a row in VIDEOS has none and is ignored. Without
    VIDEOS all videos are of one domain.
    """

    kind = "cross_domain"
    weighs_shoppers = False
    Config = CrossDomainConfig
    config: CrossDomainConfig  # type: ignore[assignment]

    def _fit(self, histories: InteractionMatrix, content: CatalogContent | None) -> None:
        weights = histories.weights
        domains = self._domains(content)
        names = sorted(set(domains) - {None})
        others = () if content is None else content.other_domains
        target = self._target(domains, weights, others)
        columns = {name: np.flatnonzero(domains == name) for name in names}
        own_columns = columns.pop(target)
        own, shoppers = _with_entries(weights[:, own_columns])
        formula = choose_video_formula(own, self.config, video_similarity_task)
        parts = {name: weights[shoppers][:, found] for name, found in columns.items()}
        parts = {name: part for name, part in parts.items() if part.nnz}
        chooser = DomainChooser(own, parts, formula, self.map_blocks)
        chosen = self._chosen(chooser, parts)
        factors = {name: one.weight for name, one in chosen.items()}
        near = similar_videos(own, formula, self.map_blocks)
        blocks = [(own_columns, near)]
        for name in (name for name, factor in factors.items() if factor):
            across = near_across(parts[name], own, formula, self.map_blocks)
            blocks.append((columns[name], (across * np.float32(factors[name])).tocsr()))
        self.similarities = _place(blocks, own_columns, len(self.videos))
        self.popularity = np.zeros(len(self.videos), np.float32)
        self.popularity[own_columns] = np.bincount(own.indices, minlength=own.shape[1])
        given = self.config.newcomer_popularity
        self.newcomer_popularity = chooser.newcomer_popularity(factors) if given == "auto" else given
        self.domain = np.full(len(self.videos), -1, np.int32)
        for place, name in enumerate(sorted(factors)):
            self.domain[columns[name]] = place
        self.report = {
            "target": target,
            "weights": factors,
            "leads": {
                name: {"held_out": _lead(one.held_out), "newcomers": _lead(one.newcomers)}
                for name, one in chosen.items()
            },
            "newcomer_popularity": self.newcomer_popularity,
            **asdict(formula),
        }

    def score_block(self, histories: InteractionMatrix, users: npt.NDArray[np.int64]) -> Scores:
        scores = super().score_block(histories, users)
        lengths = np.diff(histories.weights[:, self.of_target].indptr)
        rows = np.flatnonzero((lengths == 0) & (scores > -np.inf).any(axis=1))
        if len(rows):
            scores[rows] = with_popularity(
                np.maximum(scores[rows], 0), self.popularity, self.newcomer_popularity
            )
        return scores

    @property
    def of_target(self) -> npt.NDArray[np.bool_]:
        """(videos,) whether a video is of the target."""
        return self.popularity > 0

    def videos_of(self, domain: str) -> npt.NDArray[np.bool_]:
        """Return the (videos,) mask of the videos of another domain in `report`."""
        return self.domain == sorted(self.report["weights"]).index(domain)

    def history_factors(self) -> dict[str, float]:
        """Return the factor on a watch in each other domain where every video's best neighbor counts 1.

        It is the mean of the greatest weighted similarity over the domain's videos with one, relative to the
        same mean over the target's videos; 0 if the domain does not pay.
        """
        best = np.asarray(self.similarities.max(axis=1).todense()).ravel()
        own = best[self.of_target & (best > 0)]
        factors = dict.fromkeys(self.report["weights"], 0.0)
        for name in factors:
            found = best[self.videos_of(name) & (best > 0)]
            if len(found):
                factors[name] = float(found.mean() / own.mean()) if len(own) else 1.0
        return factors

    def without_popularity(self) -> "CrossDomain":
        """Return a copy that gives newcomers what they watched in other domains says, and nothing else."""
        other = copy(self)
        other.newcomer_popularity = 0.0
        return other

    def target_interactions(self) -> pa.Table:
        """Return the INTERACTIONS of the fit with videos of the target."""
        inside = self.of_target[self.histories.weights.indices]
        return to_interactions(self.histories, self.users, self.videos).filter(pa.array(inside))

    def _arrays(self) -> Arrays:
        own = {
            "popularity": self.popularity,
            "newcomer_popularity": np.array(self.newcomer_popularity),
            "domain": self.domain,
        }
        return own | super()._arrays()

    def _restore(self, arrays: Arrays) -> None:
        self.popularity, self.domain = arrays["popularity"], arrays["domain"]
        self.newcomer_popularity = float(arrays["newcomer_popularity"])
        super()._restore(arrays)

    def _domains(self, content: CatalogContent | None) -> Domains:
        """Return the (videos,) domain of each video; None for a video without a row in VIDEOS."""
        if content is None or content.videos is None:
            return np.full(len(self.videos), "", object)
        domains = np.full(len(self.videos), None, object)
        places = self.videos.find(content.videos.column("video_id"))
        names = np.array(content.videos.column("domain").to_pylist(), object)
        domains[places[places >= 0]] = names[places >= 0]
        return domains

    def _target(self, domains: Domains, weights: Matrix, others: Collection[str]) -> str:
        counts = np.diff(weights.tocsc().indptr)
        found = {name: int(counts[domains == name].sum()) for name in sorted(set(domains) - {None})}
        found = {name: count for name, count in found.items() if count}
        found = {name: count for name, count in found.items() if name not in others}
        target = self.config.target
        if target in others:
            raise FitError(
                f"{self.kind}: the target {target} is an `other_domain` of LINKS",
                fix="set retrieval.cross_domain.target to the shop's domain, or turn the links round",
            )
        if target is not None and target not in found:
            listed = ", ".join(found) or "none"
            raise FitError(
                f"{self.kind}: nothing was watched of the domain {target}; VIDEOS has {listed}",
                fix="set retrieval.cross_domain.target to one of these, or give the VIDEOS of that domain",
            )
        if not found:
            raise FitError(
                f"{self.kind}: nothing was watched of a domain of the shop, by the domains in VIDEOS",
                fix="give --videos with the shop's videos",
            )
        return target if target is not None else max(found, key=found.__getitem__)

    def _chosen(self, chooser: DomainChooser, parts: Mapping[str, Matrix]) -> dict[str, DomainWeight]:
        """Return the weight of each other domain, from the settings or by held-out interactions."""
        if self.config.weight != "auto":
            return {name: DomainWeight(self.config.weight) for name in parts}
        return chooser.weights()


def _lead(lead: Lead | None) -> list[float] | None:
    """Return a lead and its standard error as JSON values."""
    return None if lead is None else [lead.mean, lead.error]


def _with_entries(weights: Matrix) -> tuple[Matrix, Rows]:
    """Return the rows with entries, and their numbers."""
    rows = np.flatnonzero(np.diff(weights.indptr))
    return weights[rows], rows


def _place(blocks: list[tuple[Rows, Matrix]], columns: Rows, videos: int) -> Matrix:
    """Return (videos, videos) similarities of blocks, each of some rows and all `columns`."""
    found = [(rows, block.tocoo()) for rows, block in blocks]
    data = np.concatenate([block.data for _, block in found])
    row = np.concatenate([rows[block.row] for rows, block in found])
    column = np.concatenate([columns[block.col] for _, block in found])
    return sparse.csr_matrix((data, (row, column)), (videos, videos), dtype=np.float32)
