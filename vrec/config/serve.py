"""Settings for `vrec serve`: the typed arguments of the Ray Serve application."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from vrec.assistant.config import AssistantConfig
from vrec.assistant.connectors.config import HandOverConfig, OrdersConfig
from vrec.assistant.language_model.config import LanguageModelConfig
from vrec.config.budgets import BudgetsConfig
from vrec.config.creators import CreatorListsConfig
from vrec.config.replicas import ReplicasConfig
from vrec.config.streams import StreamsConfig
from vrec.config.trends import PopularSearchesConfig, TrendingConfig
from vrec.core.config import BaseConfig
from vrec.core.uris import join_uri, local_path
from vrec.evaluation.health.config import ModelHealthConfig
from vrec.events.config import OwnKinds
from vrec.privacy.consent.config import ConsentConfig
from vrec.privacy.door.config import DoorConfig
from vrec.privacy.retention import RetentionConfig
from vrec.profiles.stores.factory import StoreConfig
from vrec.profiles.stores.sqlite.store import SqliteConfig
from vrec.ranking.reranking.rerank import RerankConfig
from vrec.robustness.behavior.config import StreamGuardConfig

ORIGIN_PATTERN = r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$|^https?://\[[0-9a-f:]+\](:[0-9]{1,5})?$"
"""Origins as browsers send them: scheme, host and port, in lower case and without a slash at the end."""
MAX_TENANTS = 500
"""Maximum number of tenants in a service, each of which has series of metrics of its own."""
KeyScope = Literal["read", "events", "manage", "browser"]


class CandidatesConfig(BaseConfig):
    """Sources of candidates and their shares of what is ranked."""

    most: int = Field(default=300, ge=1, le=5_000)
    """Maximum number of candidates found per request."""
    ranked: int | None = Field(default=120, ge=1)
    """Number of these that the ranking network scores, which takes most of the time: the new ones, and the
    best of the others by a linear first pass; at least twice as many as the list is long. Null scores
    all; so do lists of named candidates, of live streams alone or with rules that place videos, and rankers
    without a network."""
    content: int = Field(default=120, ge=0)
    """Candidates nearest to the shopper's taste by content."""
    popular: int = Field(default=60, ge=0)
    """Popular candidates; an unknown shopper gets popular and new ones only."""
    new: int = Field(default=30, ge=0)
    """Candidates published lately or hardly shown yet, which nobody could have watched."""
    rotation_minutes: int = Field(default=60, ge=1)
    """Minutes for which a shopper keeps the same hardly shown candidates, which are drawn at random. Within
    them nothing but exploration differs between a shopper's requests, so that propensities are exact."""
    history: int = Field(default=50, ge=1)
    """Latest liked videos whose collaborative neighbors fill the remaining places."""
    live: int = Field(default=30, ge=0)
    """Most live streams, from whatever source, in lists that are not of streams alone; 0 for none. In lists
    of streams alone all that are live are candidates, `most` at most."""
    recency: float = Field(default=0.9, gt=0, le=1)
    """Factor on a neighbor's score for each step back in that history."""


ARM_PATTERN = r"^[a-z0-9_-]{1,64}$"
ArmOrder = Literal["ranked", "popular"]


class ExperimentArmConfig(BaseConfig):
    """One arm of an A/B test."""

    name: str = Field(pattern=ARM_PATTERN)
    """Name of the arm in responses and statistics."""
    share: float = Field(gt=0, le=1)
    """Share of the shoppers, assigned by a hash of the id: a shopper stays in one arm."""
    order: ArmOrder = "ranked"
    """Order of the list: by the ranker (`ranked`), or by popularity (`popular`) as a baseline."""


class ExperimentConfig(BaseConfig):
    """A/B test of arms."""

    salt: str = "vrec"
    """Salt of the hash; a new experiment takes a new salt, which reassigns the shoppers."""
    arms: tuple[ExperimentArmConfig, ...] = (ExperimentArmConfig(name="ranked", share=1.0),)
    """Arms, whose shares add up to 1."""
    window_hours: float = Field(default=24.0, gt=0, le=24 * 90)
    """Hours after an impression in which a click, watch or purchase counts for it. Events that are dated
    longer before the newest one do not count."""
    longest_watch_s: float = Field(default=3_600.0, gt=0, allow_inf_nan=False)
    """Seconds of watching that count at most for an impression of a video of unknown length; for others the
    video's length counts at most."""

    @model_validator(mode="after")
    def _check_arms(self) -> Self:
        total = sum(arm.share for arm in self.arms)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"serve.arms.arms: the shares add up to {total:g}, want 1")
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("serve.arms.arms: two arms have one name")
        return self


class SecurityConfig(BaseConfig):
    """API keys, limits and readable media."""

    keys_variable: str = "VREC_API_KEYS"
    """Environment variable with the API keys, `name:scopes:sha256` separated by commas; scopes are `read`,
    `events` and `manage`, joined by `+`, or `browser` alone. `vrec serve --new-key NAME:SCOPES` makes one;
    after a further colon it may have an expiry. VREC_API_KEYS_FILE names a file with them instead, also one a
    line, which is read again when it changes. Without keys, requests need none, and vrec listens on the
    loopback interface only."""
    shopper_secrets_variable: str = "VREC_SHOPPER_SECRETS"
    """Environment variable with the secrets, separated by commas, by which the shop's server signs the
    shopper of a `browser` key. VREC_SHOPPER_SECRETS_FILE names a file instead, which is read again when it
    changes."""
    cors_origins: tuple[Annotated[str, Field(pattern=ORIGIN_PATTERN)], ...] = ()
    """Origins, such as `https://shop.example`, whose pages may call `POST /v1/recommend`,
    `POST /v1/recommend:slots`, `POST /v1/events` and `/v1/assistant`; none by default."""
    requests_per_second: float = Field(default=200.0, gt=0)
    """Average rate limit per key (without keys: per address) and HTTP replica."""
    burst: int = Field(default=400, ge=1)
    """Requests that a key may send at once."""
    most_body_bytes: int = Field(default=2_000_000, ge=1_000)
    """Maximum size in bytes of a request body other than an upload."""
    most_upload_bytes: int = Field(default=200_000_000, ge=1_000)
    """Maximum size in bytes of an uploaded video, or of the lines of a bulk change of the catalog."""
    most_example_bytes: int = Field(default=16_000_000, ge=1_000)
    """Maximum size in bytes of a picture or clip that moments are searched by."""
    media_roots: tuple[str, ...] = ()
    """Folders or URI prefixes from which `POST /v1/videos` accepts a video by URI, and below which playlists
    and segments of live streams are read, these also by `https://HOST/` or `http://HOST/`; none by default.
    Other paths, and links that lead to them, are refused."""
    copies: Literal["note", "hold_back"] = "note"
    """Uploaded videos that are copies of one in the bundle, if it has fingerprints: `note` says so in the
    response (`copy_of`), `hold_back` also gives them no vector and the publishing date of the first, so that
    they have neither neighbors nor a place among the new ones. They are found, sold and counted as others."""
    serve_media: bool = True
    """Whether `/media/` serves the catalog's local video files to the page."""


def _default_store(given: dict[str, Any]) -> SqliteConfig:
    """Return the embedded store inside the data folder, or in the default place when that is a bucket."""
    local = local_path(given.get("data", ""))
    return SqliteConfig(path=join_uri(local, "store.db")) if local else SqliteConfig()


class SearchConfig(BaseConfig):
    """Text search."""

    min_similarity: float = Field(default=0.25, ge=0, le=1)
    """Cosine of the search text to a video's title and tags from which the video matches by meaning; videos
    with a word of the text match anyway. Higher values drop matches in other words, lower ones let nonsense
    match. .25 is for catalogs of a few hundred titles: docs/experiments.md has larger ones."""


TenantName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
"""Name of a tenant: a folder, a part of keys in Redis, and a label of metrics."""


class TenantLimits(BaseConfig):
    """Limits of all requests of a tenant together, per HTTP replica, so that others get their share."""

    requests_per_second: float = Field(default=50.0, gt=0)
    """Average rate limit; further requests get 429 with `Retry-After`."""
    burst: int = Field(default=100, ge=1)
    """Requests that may come at once at that rate."""
    concurrent: int = Field(default=8, ge=1)
    """Maximum number of requests that run at a time; further ones get 429."""
    cpu_ms_per_second: float = Field(default=500.0, gt=0)
    """CPU milliseconds that its requests may use per second on average; see `serve.budgets`."""


class TenantConfig(BaseConfig):
    """One more shop in the service. What it leaves out is as in the service's own settings."""

    bundle: str = Field(min_length=1)
    """Folder of its bundle, a path or a URI; made with the service's encoder, or without one."""
    bundles: str | None = Field(default=None, min_length=1)
    """Folder of the bundles that its console and API may move it to; none by default, whatever the service's
    own is."""
    candidates: CandidatesConfig | None = None
    """Candidate retrieval."""
    rerank: RerankConfig | None = None
    """Reranking, by surface."""
    search: SearchConfig | None = None
    """Text search."""
    own_kinds: OwnKinds | None = None
    """The shop's own kinds of events."""
    arms: ExperimentConfig | None = None
    """A/B test."""
    currency: str | None = Field(default=None, pattern=r"^[A-Z]{3}$")
    """Currency of its prices."""
    documents: str | None = Field(default=None, min_length=1)
    """Folder of its documents for the assistant; none by default, whatever the service's own are."""
    orders: OrdersConfig = Field(default_factory=OrdersConfig)
    """Its tool for questions about orders; none by default, whatever the service's own is. A variable that is
    not named here is the service's with the tenant's name behind it, such as VREC_ORDERS_KEY_SHOP_B."""
    handover: HandOverConfig = Field(default_factory=HandOverConfig)
    """Its address for conversations that a person takes over; likewise."""
    llm: LanguageModelConfig = Field(default_factory=LanguageModelConfig)
    """Its language model for the assistant; likewise."""
    cors_origins: tuple[Annotated[str, Field(pattern=ORIGIN_PATTERN)], ...] = ()
    """Origins whose pages may call it; none by default, whatever the service's own are."""
    media_roots: tuple[str, ...] = ()
    """Folders from which it may add videos by URI; none by default, whatever the service's own are."""
    serve_media: bool = True
    """Whether `/media/` serves its local video files."""
    quarantine: str | None = None
    """Table of its suspicious shoppers, as `serve.guard.quarantine`; none by default."""
    announced: str | None = None
    """Table of newcomers that it expects, as `serve.guard.announced`; none by default."""
    limits: TenantLimits = Field(default_factory=TenantLimits)
    """Limits of its requests."""


class BatchesConfig(BaseConfig):
    """Batches of lists for many shoppers (`POST /v1/batches`)."""

    cpus: float = Field(default=0.5, gt=0)
    """CPUs reserved for a running batch; one that finds none waits."""
    most_unfinished: int = Field(default=10, ge=1)
    """Maximum number of batches that are queued or running; further ones are refused."""
    keep_hours: float = Field(default=72.0, gt=0, allow_inf_nan=False)
    """Hours after its start in which a batch and its result are kept, in `batches` of the data folder."""


class ServeConfig(BaseConfig):
    """Settings for `vrec serve`, and the `args` of the application in a Serve config file."""

    bundle: str = ""
    """Folder of the bundle, a path or a URI. A reload names another one."""
    bundles: str | None = Field(default=None, min_length=1)
    """Folder, a path or a URI, whose direct subfolders are the bundles that the console and
    `POST /v1/bundles:move` may move the service to; none by default."""
    data: str = "vrec-data"
    """Folder for uploads and catalog changes; a path or a URI that every node reaches."""
    store: StoreConfig = Field(default_factory=_default_store)
    """Store of profiles and events; by default `store.db` in `data` when that is local."""
    candidates: CandidatesConfig = Field(default_factory=CandidatesConfig)
    """Candidate retrieval."""
    rerank: RerankConfig = Field(default_factory=RerankConfig)
    """Reranking, by surface."""
    search: SearchConfig = Field(default_factory=SearchConfig)
    """Text search."""
    trending: TrendingConfig = Field(default_factory=TrendingConfig)
    """Trending videos."""
    guard: StreamGuardConfig = Field(default_factory=StreamGuardConfig)
    """Guard of trends and of the counts that rank videos against suspicious shoppers."""
    searches: PopularSearchesConfig = Field(default_factory=PopularSearchesConfig)
    """Popular searches."""
    learns_searches: bool = True
    """Whether what a shopper searches for counts as interest (a `search` event), so that the feed follows.
    Switch it off where shoppers have not agreed to that; for the assistant there is `assistant.learns`."""
    batches: BatchesConfig = Field(default_factory=BatchesConfig)
    """Batches of lists for many shoppers."""
    creators: CreatorListsConfig = Field(default_factory=CreatorListsConfig)
    """Lists of creators and streamers."""
    live: StreamsConfig = Field(default_factory=StreamsConfig)
    """Live streams."""
    assistant: AssistantConfig = Field(default_factory=AssistantConfig)
    """Assistant (`POST /v1/assistant`, `vrec assistant`)."""
    consent: ConsentConfig = Field(default_factory=ConsentConfig)
    """Consents of shoppers (`PUT /v1/users/{user_id}/consent`)."""
    retention: RetentionConfig = Field(default_factory=RetentionConfig)
    """For how long events are kept, by their kind."""
    health: ModelHealthConfig = Field(default_factory=ModelHealthConfig)
    """Alarms for a model that gets worse."""
    own_kinds: OwnKinds = Field(default_factory=dict)
    """The shop's own kinds of events, which `POST /v1/events` accepts besides vrec's; by default those of
    `events.interest.own_kinds`. In profiles, those that the bundle has count as they did in training."""
    arms: ExperimentConfig = Field(default_factory=ExperimentConfig)
    """A/B test."""
    security: SecurityConfig = Field(default_factory=SecurityConfig)
    """API keys and limits."""
    budgets: BudgetsConfig = Field(default_factory=BudgetsConfig)
    """CPU time of callers, and what gives way under load."""
    privacy: DoorConfig = Field(default_factory=DoorConfig)
    """Pseudonyms, and what else happens to personal data on entry; nothing by default."""
    replicas: ReplicasConfig = Field(default_factory=ReplicasConfig)
    """Replicas and their resources."""
    profile_timeout_s: float = Field(default=0.5, gt=0)
    """Seconds to wait for a profile before answering without one (`degraded`)."""
    ranking_timeout_s: float = Field(default=2.0, gt=0)
    """Seconds to wait for a ranking before answering with the popular videos (`degraded`)."""
    apply_timeout_s: float = Field(default=10.0, gt=0)
    """Seconds that events may take to become durable before the client is asked to retry."""
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")
    """Currency of the catalog's prices, an ISO 4217 code, in which the page shows them."""
    refresh_s: float = Field(default=0.5, gt=0)
    """Seconds between two checks for changed videos and counts: how soon an upload is recommended."""
    tenants: dict[TenantName, TenantConfig] = Field(default_factory=dict, max_length=MAX_TENANTS)
    """Further shops in this service by name, each with a bundle, data and API keys (`NAME/key:scopes:sha256`)
    of its own; none by default. They may come, change and go while the service runs: docs/tenants.md."""
    shard_above: int | None = Field(default=None, ge=1)
    """Videos above which the catalog is served in shards, as many as it takes for each to have at most this
    many; null never. `vrec serve` looks at it at the start; a reload keeps the number of shards, and
    `serve.replicas.shards` sets it. Above it the assistant and the search for moments do not answer."""
    warm_tenants: int = Field(default=8, ge=1)
    """Maximum number of tenants' bundles in the memory of a ranking replica; the one that was used least
    recently makes room. Where HTTP replicas rank (`replicas.ranking` 0), all are in memory."""
    host: str = "127.0.0.1"
    """Address that `vrec serve` listens on; other than loopback needs API keys."""
    port: int = Field(default=8000, ge=1, le=65535)
    """Port of `vrec serve`; a Serve config file sets it in `http_options`."""

    @model_validator(mode="after")
    def _check_single_writer(self) -> Self:
        most = max(self.replicas.profiles, self.replicas.profiles_most or 1)
        if isinstance(self.store, SqliteConfig) and most > 1:
            raise ValueError(
                "serve.replicas.profiles: the embedded store has one process; "
                "set serve.store.kind=redis for more"
            )
        return self

    @model_validator(mode="after")
    def _check_retention(self) -> Self:
        own = [*self.own_kinds, *(kind for one in self.tenants.values() for kind in one.own_kinds or ())]
        if unknown := self.retention.unknown_kinds(own):
            raise ValueError(f"serve.retention.days: there is no kind of event {unknown[0]}")
        return self

    def of_tenant(self, name: str) -> "ServeConfig":
        """Return the settings of a tenant's shop, whose data folder and store are its own.

        They lie below `tenants/NAME` of the data folder, in Redis below the prefix `PREFIX:tenants:NAME`.
        """
        tenant = self.tenants[name]
        own = ("candidates", "rerank", "search", "own_kinds", "arms", "currency")
        changes: dict[str, Any] = {key: value for key in own if (value := getattr(tenant, key)) is not None}
        shared = {key: getattr(tenant, key) for key in ("cors_origins", "media_roots", "serve_media")}
        changes["security"] = self.security.model_copy(update=shared)
        changes["assistant"] = self.assistant.model_copy(update=_assistant_of(tenant, name))
        tables = {key: getattr(tenant, key) for key in ("quarantine", "announced")}
        changes["guard"] = self.guard.model_copy(update=tables)
        changes["data"] = join_uri(self.data, "tenants", name)
        if isinstance(self.store, SqliteConfig):
            path = Path(self.store.path)
            own_path = {"path": str(path.parent / "tenants" / name / path.name)}
            changes["store"] = self.store.model_copy(update=own_path)
        else:
            own_prefix = {"prefix": f"{self.store.prefix}:tenants:{name}"}
            changes["store"] = self.store.model_copy(update=own_prefix)
        own_bundles = {"bundle": tenant.bundle, "bundles": tenant.bundles}
        return self.model_copy(update={**changes, **own_bundles, "tenants": {}})


def _assistant_of(tenant: TenantConfig, name: str) -> dict[str, Any]:
    """Return what of the assistant is a tenant's own: its documents, and where its shoppers' words may go.

    Variables that it leaves at their defaults get its name, so that no tenant's keys go to another's address.
    """
    own: dict[str, Any] = {"documents": tenant.documents}
    for group, variable in (
        ("orders", "key_variable"),
        ("handover", "secret_variable"),
        ("llm", "key_variable"),
    ):
        given: BaseConfig = getattr(tenant, group)
        if getattr(given, variable) == type(given).model_fields[variable].default:
            suffix = name.upper().replace("-", "_")
            given = given.model_copy(update={variable: f"{getattr(given, variable)}_{suffix}"})
        own[group] = given
    return own


def experiment_settings(user_config: Mapping[str, Any], config: ServeConfig) -> ExperimentConfig:
    """Return the A/B test in what may change while the service runs; if it has none, that of `config`."""
    given = user_config.get("arms")
    return config.arms if given is None else ExperimentConfig.model_validate(given)
