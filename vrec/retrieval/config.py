"""Settings and names of all recommenders. Imports no numerical library, so that commands check them fast."""

import difflib
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import UnknownModel
from vrec.retrieval.attributes_config import AttributesConfig
from vrec.retrieval.graph_config import CreatorsConfig, GraphFilterConfig, MultimodalConfig
from vrec.retrieval.live.config import LiveConfig
from vrec.retrieval.network_config import MultVaeConfig, NeuMfConfig, SASRecConfig

SimilarityKind = Literal["cosine", "pearson", "product"]
WeightingKind = Literal["none", "tfidf", "bm25"]
Penalty = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Auto = Literal["auto"]


class SimilarityConfig(BaseConfig):
    """Similarity of two rows (videos by their users, or users by their videos), and number of neighbors.

    What is `auto` is chosen in the fit, from a few values, by the rank of interactions that were held out.
    """

    similarity: SimilarityKind = "cosine"
    """Cosine of the two rows; Pearson's correlation over all columns with 0 where nothing is stored; or their
    inner product, which with weighting `bm25` is what `implicit` calls BM25."""
    neighbours: int = Field(default=100, ge=1)
    """Number of nearest rows kept for each row; more makes scores smoother, and the model slower and
    larger."""
    popularity_penalty: Auto | Penalty = "auto"
    """Exponent of a neighbor's length in the denominator: 1 is the cosine proper, by which rare rows are near
    to many; with 0 a row with many entries is no farther for it. Few interactions call for a low one."""
    shrink: Auto | NotNegative = "auto"
    """Term added to the denominator, in units of weight²: similarities based on few columns become
    smaller."""
    weighting: Auto | WeightingKind = "auto"
    """Weighting before similarities are computed: TF-IDF and BM25 lower the weight of columns with many
    entries, BM25 also that of rows with a large sum, which shows only in a similarity other than the cosine
    proper."""


class PopularConfig(BaseConfig):
    """Settings of the popularity baseline."""

    half_life_days: float | None = Field(default=None, gt=0)
    """Days after which an interaction's count is halved; None disables the decay. A short one follows
    trends."""


class ItemKnnConfig(SimilarityConfig):
    """Settings of the similarity of videos by their users, and of the weights of a history."""

    recency_half_life: float | None = Field(default=None, gt=0)
    """Number of newer videos in the user's history after which a video's weight is halved; None disables the
    decay. Videos with the same time have the same decay."""


class CrossDomainConfig(ItemKnnConfig):
    """Settings of the item-based neighborhood model that learns from other domains."""

    target: str | None = None
    """Domain (`VIDEOS.domain`) whose videos are recommended; None for the one with the most interactions
    of those that LINKS does not name as another one."""
    weight: Auto | NotNegative = "auto"
    """Weight of what a user watched in another domain, relative to one watch in the target. `auto` chooses
    one for each domain in the fit, by held-out interactions of the target."""
    newcomer_popularity: Auto | NotNegative = "auto"
    """Weight of popularity for a user without a history in the target, beside what they watched elsewhere;
    the best video of both counts 1. `auto` chooses it in the fit, by users whose history in the target is
    hidden."""


class CoVisitationConfig(BaseConfig):
    """Settings of co-visitation."""

    window: int = Field(default=4, ge=1)
    """Places in a history over which two videos are linked; time and memory grow with it."""
    backward: float = Field(default=1.0, ge=0, le=1)
    """Strength of a link from the later video to the earlier one, relative to the opposite direction."""
    decay: float = Field(default=0.7, gt=0, le=1)
    """Factor on a video's weight for each newer video in the user's history; 1 disables the decay."""
    popularity_power: float = Field(default=0.0, ge=0, le=1)
    """Power of a video's number of users that its links are divided by; more favors rare videos."""
    neighbours: int = Field(default=200, ge=1)
    """Number of strongest links kept for each video."""


class AlsConfig(BaseConfig):
    """Settings of alternating least squares."""

    factors: int = Field(default=64, ge=1)
    """Dimensions of the vectors of users and videos; time grows with the square."""
    regularization: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """λ, the weight of the squared norms of the vectors in the loss; higher values shrink vectors, most of
    all those with few interactions."""
    alpha: Auto | Positive = "auto"
    """Factor α of the confidence in an interaction, 1 + α · weight; the confidence in no interaction is 1.
    `auto` is 10 over the mean weight."""
    iterations: int = Field(default=15, ge=1)
    """Number of alternations between solving for the users' and the videos' vectors."""
    seed: int = Field(default=0, ge=0)
    """Seed of the initial vectors."""


class EaseConfig(BaseConfig):
    """Settings of EASE."""

    regularization: Auto | Positive = "auto"
    """λ, the term added to the diagonal of XᵀX; higher values rely on frequent pairs of videos only. `auto`
    chooses it by leaving one user out at a time, in closed form, on the videos with most interactions."""
    binary: bool = True
    """Count every interaction as 1, as in the paper, instead of its weight."""
    max_videos: int = Field(default=20_000, ge=1)
    """Maximum number of videos that can be fitted: memory grows with its square, time with its cube."""
    median_groups: int = Field(default=1, ge=1)
    """Groups of shoppers over which each entry of XᵀX is the median, scaled to all; 1 is the plain sum. Fewer
    fake shoppers than half the groups cannot move an entry far, but rare pairs are lost with more than one
    group, and memory grows with their number."""


class ContentConfig(BaseConfig):
    """Settings of the similarity of videos' content and of the decay of a history."""

    recency: float = Field(default=0.8, gt=0, le=1)
    """Factor on a video's weight for each newer video in the user's history; 1 disables the decay."""
    center: bool = True
    """Subtract the catalog's mean embedding, which all videos share and which hides their
    differences. A single embedding is never centered."""
    attributes_share: float = Field(default=0.5, ge=0, le=1)
    """Weight of the attributes in the squared length of a video's vector; the embedding has the rest. A video
    with only one of the two is represented by that one alone."""
    attributes: AttributesConfig = Field(default_factory=AttributesConfig)
    """Weights of the attributes."""


class PropagationConfig(BaseConfig):
    """Settings of the propagation of tastes."""

    mode: Literal["plain", "degree", "neighbours"] = "neighbours"
    """Users over which a taste is averaged: `plain` is all users by inner product; `degree` all users by
    cosine, divided by the sum of cosines; `neighbours` the nearest users by cosine, in time proportional to
    users²."""
    neighbours: int = Field(default=50, ge=1)
    """Number of nearest users, including the user; for mode `neighbours` only."""
    space: Literal["interactions", "embeddings"] | None = None
    """Space of tastes and videos: factors of the interactions, or the videos' embeddings. None means
    embeddings if there are any."""
    factors: int = Field(default=64, ge=1)
    """Number of factors of the interactions; for space `interactions` only."""
    seed: int = Field(default=0, ge=0)
    """Seed of the randomized SVD."""


SingleKind = Literal[
    "popular",
    "item_knn",
    "cross_domain",
    "user_knn",
    "co_visitation",
    "als",
    "ease",
    "mult_vae",
    "neumf",
    "sequence",
    "content",
    "propagate",
    "graph_filter",
    "multimodal",
    "creators",
]


CONTENT_KINDS: frozenset[str] = frozenset({"content", "multimodal"})
"""Recommenders that need the videos' content, and can recommend videos without interactions by it."""


class SingleModelsConfig(BaseConfig):
    """Settings of each recommender except the hybrid."""

    popular: PopularConfig = Field(default_factory=PopularConfig)
    """Settings of the ranking by number of users."""
    item_knn: ItemKnnConfig = Field(default_factory=ItemKnnConfig)
    """Settings of the item-based neighborhood model."""
    cross_domain: CrossDomainConfig = Field(default_factory=CrossDomainConfig)
    """Settings of the item-based neighborhood model that learns from other domains."""
    user_knn: SimilarityConfig = Field(default_factory=SimilarityConfig)
    """Settings of the user-based neighborhood model."""
    co_visitation: CoVisitationConfig = Field(default_factory=CoVisitationConfig)
    """Settings of co-visitation, which links videos that are close in histories."""
    als: AlsConfig = Field(default_factory=AlsConfig)
    """Settings of matrix factorization by alternating least squares."""
    ease: EaseConfig = Field(default_factory=EaseConfig)
    """Settings of EASE, a linear autoencoder in closed form."""
    mult_vae: MultVaeConfig = Field(default_factory=MultVaeConfig)
    """Settings of Mult-VAE, a variational autoencoder of histories."""
    neumf: NeuMfConfig = Field(default_factory=NeuMfConfig)
    """Settings of neural matrix factorization."""
    sequence: SASRecConfig = Field(default_factory=SASRecConfig)
    """Settings of SASRec, self-attention over a user's videos in time order."""
    content: ContentConfig = Field(default_factory=ContentConfig)
    """Settings of the content-based model: videos similar to those that the user has watched."""
    propagate: PropagationConfig = Field(default_factory=PropagationConfig)
    """Settings of the propagation of tastes over similar users."""
    graph_filter: GraphFilterConfig = Field(default_factory=GraphFilterConfig)
    """Settings of the filter over the graph of users and videos, a closed-form graph convolution."""
    multimodal: MultimodalConfig = Field(default_factory=MultimodalConfig)
    """Settings of the graph filter with a graph of similar content, which reaches cold videos."""
    creators: CreatorsConfig = Field(default_factory=CreatorsConfig)
    """Settings of the recommender of creators, with `events.of: creator`."""


class BlendConfig(BaseConfig):
    """Settings of the learning of a hybrid's weights."""

    users: int = Field(default=3000, ge=1)
    """Maximum number of users to learn from; drawn at random if there are more."""
    least_users: int = Field(default=20, ge=1)
    """Minimum number of users to learn from; with fewer, all members have the same weight."""
    best: int = Field(default=60, ge=1)
    """Number of each member's best videos that the chosen ones are compared with."""
    others: int = Field(default=200, ge=1)
    """Number of further videos, drawn at random, that represent all others in the comparison."""
    ridge: float = Field(default=0.003, ge=0)
    """Factor of the sum of squared weights in the loss; higher values shrink the weights to zero."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws of users and videos."""


class HybridConfig(BaseConfig):
    """Settings of the blend of several recommenders."""

    members: tuple[SingleKind, ...] = Field(default=("popular", "item_knn", "ease", "content"), min_length=1)
    """Names of the blended recommenders. Those that cannot be fitted are left out, such as `content` without
    content, or `ease` where there are more videos than its `max_videos`; the model's manifest says why."""
    models: SingleModelsConfig | None = None
    """Settings of the members and of the fallback for new users; by default those of `retrieval`."""
    blend: BlendConfig = Field(default_factory=BlendConfig)
    """Settings of the learning of the weights."""
    holdout: Literal["auto", "time", "last", "random"] = "auto"
    """Interactions that are held out to learn the weights: `time` takes what all users watched after one
    moment, as in production; `last` the last part of each user's history, as in a leave-last-out evaluation;
    `random` random videos of each user. `auto` takes `random` where most users' interactions have one time
    each, `last` where most users' last interactions do or where `time` leaves fewer than `blend.least_users`
    users, and `time` otherwise."""
    holdout_share: float = Field(default=0.15, gt=0, lt=1)
    """Share of the interactions that is held out to learn the weights; the members are then fitted again on
    all interactions."""
    fallback: bool = True
    """Use the member that is best on the held-out interactions alone, unless the blend, one with non-negative
    weights or equal weights of the best members lead by more than their lead's standard error (in `auto`: by
    anything); if false, the blend is used in any case."""
    popularity_calibration: float = Field(default=0.0, ge=0, le=1)
    """Strength with which a list's shares of head, mid and tail videos follow the user's history: 0 orders by
    score alone, 1 by these shares. Higher values show more of the catalog, and cost accuracy."""
    cold_every: int | None = Field(default=20, ge=2)
    """Interval at which a recommended video is a cold one, the best by score that no user has watched; by
    score alone such videos would hardly ever be shown. None ranks all videos by score alone."""
    recommend_new_users: bool = True
    """Recommend the popular videos, with source `popular`, to users without a history; otherwise they get
    no rows."""


PORTFOLIO: tuple[SingleKind, ...] = (
    "popular", "co_visitation", "item_knn", "als", "user_knn", "graph_filter", "content", "multimodal",
    "ease", "mult_vae", "sequence",
)  # fmt: skip
"""Recommenders that `auto` tries, the fastest first."""


class AutoConfig(HybridConfig):
    """Settings of the choice among all recommenders; `members` are the candidates."""

    members: tuple[SingleKind, ...] = Field(default=PORTFOLIO, min_length=1)
    """Names of the recommenders to try, in this order; `popular` is always tried."""
    minutes: float = Field(default=5.0, gt=0)
    """Time budget of the whole fit. What does not fit into it is skipped and named; a part of the choice that
    could not be fitted again on all interactions in time stays as it was tried, without those held out. A
    trial that takes longer than expected is stopped at its next step; the inverse of `ease` is one step."""
    search: dict[SingleKind, dict[str, list[Any]]] = Field(
        default_factory=lambda: {
            "co_visitation": {"decay": [0.5, 0.9], "popularity_power": [0.0, 0.3]},
            "item_knn": {"recency_half_life": [3.0]},
            "user_knn": {"neighbours": [300]},
            "als": {"factors": [128]},
        }
    )
    """Further settings to try of a recommender whose defaults are among the best: every combination of the
    listed values."""
    contenders: int = Field(default=3, ge=1)
    """Number of the best recommenders whose further settings are tried."""
    blended: int = Field(default=4, ge=1)
    """Maximum number of the best recommenders in the blend that is compared with them; `popular` and those of
    content are blended in addition."""
    screen_interactions: int = Field(default=500_000, ge=1)
    """Interactions above which all candidates are first tried on a sample of the users with about as many,
    and only the better half of them on all."""
    network_interactions: int = Field(default=20_000, ge=1)
    """Fewest interactions with which networks are tried: they learn little from less, and importing torch
    takes longer than all other trials."""


class RetrievalConfig(SingleModelsConfig):
    """Settings of all recommenders."""

    hybrid: HybridConfig = Field(default_factory=HybridConfig)
    """Settings of the blend of several recommenders with learned weights."""
    auto: AutoConfig = Field(default_factory=AutoConfig)
    """Settings of the choice of the best recommender for the data."""
    live: LiveConfig = Field(default_factory=LiveConfig)
    """Settings of the model of live streams (`vrec fit --model live`)."""


COMBINED_KINDS = ("hybrid", "auto")
"""Recommenders that are made of others."""
RECOMMENDER_KINDS: tuple[str, ...] = (*get_args(SingleKind), *COMBINED_KINDS)
"""Names of all recommenders, as `--model` and `--models` take them."""


def check_kind(kind: str) -> None:
    """Check that a recommender of that name exists.

    Raises:
        UnknownModel: There is none; the message suggests the closest name.
    """
    if kind not in RECOMMENDER_KINDS:
        near = difflib.get_close_matches(kind, RECOMMENDER_KINDS, n=1)
        guess = f"; did you mean {near[0]}?" if near else ""
        raise UnknownModel(
            f"no recommender is called {kind}{guess}", fix=f"give one of {', '.join(RECOMMENDER_KINDS)}"
        )
