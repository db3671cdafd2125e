"""What `vrec serve` can be told: the typed arguments of the Ray Serve application."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from vrec.core.config import BaseConfig
from vrec.profiles.stores.factory import StoreConfig
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.ranking.reranking.rerank import RerankConfig

KeyScope = Literal["read", "events", "manage"]


class CandidatesConfig(BaseConfig):
    """Where candidates come from, and how many are ranked."""

    most: int = Field(default=300, ge=1, le=5_000)
    """Candidates that are ranked at most: what they cost is in proportion."""
    content: int = Field(default=120, ge=0)
    """Of them nearest to the shopper's taste by content."""
    popular: int = Field(default=60, ge=0)
    """Of them popular; a stranger gets popular and new ones only."""
    new: int = Field(default=30, ge=0)
    """Of them published lately, or hardly shown yet: what nobody could have watched."""
    history: int = Field(default=50, ge=1)
    """Videos liked last whose neighbours by collaborative filtering fill the rest."""
    recency: float = Field(default=0.9, gt=0, le=1)
    """What each step back in that history multiplies a neighbour's score by."""


class ExperimentArmConfig(BaseConfig):
    """One side of a live comparison."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[a-z0-9_-]+$")
    """What answers and statistics call it."""
    share: float = Field(gt=0, le=1)
    """Share of the shoppers, by a hash of their id: the same shopper always sees the same arm."""
    order: Literal["ranked", "popular"] = "ranked"
    """`ranked` by the ranker, or `popular` first, to compare with."""


class ExperimentConfig(BaseConfig):
    """Which arms there are."""

    salt: str = "vrec"
    """Another salt deals shoppers to arms anew, as a new experiment should."""
    arms: tuple[ExperimentArmConfig, ...] = (ExperimentArmConfig(name="ranked", share=1.0),)
    """The arms; their shares add up to 1."""

    @model_validator(mode="after")
    def _check_arms(self) -> Self:
        total = sum(arm.share for arm in self.arms)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"serve.arms.arms: the shares add up to {total:g}, want 1")
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("serve.arms.arms: two arms have one name")
        return self


class SecurityConfig(BaseConfig):
    """Who may do what, and how much of it."""

    keys_variable: str = "VREC_API_KEYS"
    """The environment variable with API keys, as `name:scopes:sha256` by commas, scopes being `read`,
    `events` and `manage` joined by `+`; `vrec serve --new-key NAME:SCOPES` makes one. Where it is empty,
    requests need no key, and vrec listens on this machine alone."""
    requests_per_second: float = Field(default=200.0, gt=0)
    """Requests that one key (or, without keys, one address) may send on average, by each HTTP replica."""
    burst: int = Field(default=400, ge=1)
    """Requests that it may send at once."""
    most_body_bytes: int = Field(default=2_000_000, ge=1_000)
    """Largest body of a request other than an upload."""
    most_upload_bytes: int = Field(default=200_000_000, ge=1_000)
    """Largest uploaded video."""
    media_roots: tuple[str, ...] = ()
    """Folders or URI prefixes from which `POST /v1/videos` takes a video by its URI; none by default. What
    lies elsewhere, links that lead elsewhere included, is refused."""
    serve_media: bool = True
    """Whether videos of the catalogue that are local files are given out at `/media/`, for the page."""


class ReplicasConfig(BaseConfig):
    """How many of each deployment there are, and what Ray sets aside for them."""

    api: int = Field(default=1, ge=1)
    """Replicas that speak HTTP."""
    ranking: int = Field(default=1, ge=0)
    """Replicas that rank; where `ranking_most` is greater, the least. With none, each HTTP replica ranks
    itself: a call less for every request, for machines with few cores. What a separate one gives is lost: a
    ranking that hangs or dies takes its HTTP replica along, and the load decides on both together."""
    ranking_most: int | None = Field(default=None, ge=1)
    """Ranking replicas at most, as many as the load needs; None keeps to `ranking`."""
    profiles: int = Field(default=1, ge=1)
    """Replicas that keep profiles; the embedded store has one process."""
    encoder: int = Field(default=1, ge=0)
    """Replicas that embed uploads and search texts; with none, uploads are refused and search is by words."""
    api_cpus: float = Field(default=0.2, ge=0)
    """CPUs set aside for each HTTP replica."""
    ranking_cpus: float = Field(default=0.5, ge=0)
    """CPUs set aside for each ranking replica."""
    profiles_cpus: float = Field(default=0.2, ge=0)
    """CPUs set aside for each profile replica."""
    encoder_cpus: float = Field(default=0.2, ge=0)
    """CPUs set aside for each encoder replica."""
    encoder_gpus: float = Field(default=0.0, ge=0, le=8)
    """GPUs for each encoder replica; 0 embeds on CPUs."""

    @model_validator(mode="after")
    def _check_ranking_replicas(self) -> Self:
        if not self.ranking and self.ranking_most is not None:
            raise ValueError("ranking_most needs ranking replicas: set ranking to 1 or more, or leave it out")
        return self


def _default_store(given: dict[str, Any]) -> SqliteConfig:
    """The embedded store in a data folder; where that is a bucket, a database file cannot be in it."""
    data = given.get("data", "")
    return SqliteConfig() if not data or "://" in data else SqliteConfig(path=f"{data}/store.db")


class ServeConfig(BaseConfig):
    """`vrec serve`, and the `args` of the application in a Serve config file."""

    bundle: str = ""
    """The bundle's folder, a path or a URI. A reload names another one."""
    data: str = "vrec-data"
    """A folder, a path or a URI that all nodes reach: uploads, and changes of the catalogue."""
    store: StoreConfig = Field(default_factory=_default_store)
    """Where profiles and events are kept; by default in `store.db` below `data` where that is local."""
    candidates: CandidatesConfig = Field(default_factory=CandidatesConfig)
    """What is ranked."""
    rerank: RerankConfig = Field(default_factory=RerankConfig)
    """How lists are made of it, by surface."""
    arms: ExperimentConfig = Field(default_factory=ExperimentConfig)
    """Live comparisons."""
    security: SecurityConfig = Field(default_factory=SecurityConfig)
    """Keys, limits and what may be read."""
    replicas: ReplicasConfig = Field(default_factory=ReplicasConfig)
    """How many of what."""
    profile_timeout_s: float = Field(default=0.5, gt=0)
    """Seconds to wait for a profile before answering without one (`degraded`)."""
    ranking_timeout_s: float = Field(default=2.0, gt=0)
    """Seconds to wait for a ranking before answering with the popular videos (`degraded`)."""
    apply_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds that events may take to be durable before the client is told to send them again."""
    refresh_s: float = Field(default=0.5, gt=0)
    """Seconds between two looks for changed videos and statistics: how soon an upload is recommended."""
    host: str = "127.0.0.1"
    """The address that `vrec serve` listens on. Beyond this machine only with API keys."""
    port: int = Field(default=8000, ge=1, le=65535)
    """The port of `vrec serve`; in a Serve config file, `http_options` says it."""

    @model_validator(mode="after")
    def _check_single_writer(self) -> Self:
        if isinstance(self.store, SqliteConfig) and self.replicas.profiles > 1:
            raise ValueError(
                "serve.replicas.profiles: the embedded store has one process; "
                "set serve.store.kind=redis for more"
            )
        return self
