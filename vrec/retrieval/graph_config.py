"""Settings of the recommenders that filter the graph of users and videos, or of users and creators."""

from typing import Annotated, Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.retrieval.attributes_config import AttributesConfig

Auto = Literal["auto"]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class GraphFilterConfig(BaseConfig):
    """Settings of the filter over the graph of users and videos."""

    user_smoothing: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Term added to a user's number of videos, by whose square root the user's paths are divided: with more,
    users with short histories say less of which videos go together."""
    video_smoothing: Auto | NotNegative = "auto"
    """Term added to a video's number of users, by whose square root the video's paths are divided: with more,
    videos with few users are recommended less, and popular ones more. `auto` chooses this and
    the next two in the fit: from 36 combinations, by the NDCG of held-out videos of up to 1,000 users."""
    factors: Auto | Annotated[int, Field(ge=0)] = "auto"
    """Number of singular vectors that the low-pass filter passes, at most a quarter of the users and of the
    videos; fewer are smoother, and 0 leaves the filter out."""
    low_pass: Auto | NotNegative = "auto"
    """Weight of the low-pass filter, by which videos that share no user with the history are found too; the
    weight of paths over common users is 1."""
    seed: int = Field(default=0, ge=0)
    """Seed of the randomized SVD and of the held-out interactions."""


class MultimodalConfig(GraphFilterConfig):
    """Settings of the filter over the graph of users and videos and the graph of similar content."""

    neighbours: int = Field(default=20, ge=1)
    """Number of watched videos with the most similar content that stand for a video, by embeddings and by
    attributes each."""
    sharpness: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Exponent of the cosines by which neighbors are weighted; higher values rely on the most similar."""
    content_support: Auto | NotNegative = "auto"
    """Number of users of a video at which its own interactions and those of its neighbors weigh the same; 0
    uses content for videos without interactions only. `auto` chooses it in the fit."""
    cold_weight: float = Field(default=0.1, ge=0, allow_inf_nan=False)
    """Weight ν of similar content itself in the scores of videos without interactions: with more, they are
    recommended more, and more by content than by the behavior around similar videos."""
    center: bool = True
    """Subtract the catalog's mean embedding, which all videos share and which hides their
    differences. A single embedding is never centered."""
    attributes_share: float = Field(default=0.5, ge=0, le=1)
    """Weight of the neighbors by attributes; those by embeddings have the rest. A video with only one of the
    two is represented by that one alone."""
    attributes: AttributesConfig = Field(default_factory=AttributesConfig)
    """Weights of the attributes."""


class CreatorsConfig(BaseConfig):
    """Settings of the recommender of creators."""

    regularization: float = Field(default=60.0, gt=0)
    """λ of the linear part; higher values rely on frequent pairs of creators only."""
    graph: GraphFilterConfig = Field(default_factory=GraphFilterConfig)
    """Settings of the graph filter."""
    graph_weight: Auto | float = "auto"
    """Weight of the graph filter beside the linear part, both standardized; `auto` chooses it in the fit by
    held-out interactions, one for shoppers with few creators and one for the others."""
    friends_weight: Auto | float = "auto"
    """Weight of what friends watch, likewise; 0 leaves friends off, and so does `auto` where it is not clear
    that they help."""
    few: int = Field(default=5, ge=0)
    """Number of creators in a history up to which it is a short one."""
    max_smaller: int = Field(default=20_000, ge=1)
    """Maximum of the smaller of the numbers of shoppers and creators: memory grows with its square, time with
    its cube."""
    seed: int = Field(default=0, ge=0)
    """Seed of what is held out for the choice."""
