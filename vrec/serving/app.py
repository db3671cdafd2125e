"""Ray Serve application, as `serve run`, `serve deploy` and `vrec serve` build it."""

import ipaddress
from functools import partial
from typing import Any

from ray import serve
from ray.serve import Application

from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.core.secrets import read_secret
from vrec.core.uris import is_web, local_path
from vrec.serving.bundle_swap import fixes_in_tracebacks
from vrec.serving.conversation.hand_over_posts import hand_over_secret
from vrec.serving.deployments.encoder import EncoderDeployment
from vrec.serving.deployments.shards.deployment import CatalogShard
from vrec.serving.door.backend import check_door
from vrec.serving.tenants.deployments import ApiHost, ProfilesHost, RankingHost, StreamContentHost

HEALTH_CHECK_PERIOD_S = 1.0
"""Seconds between two health checks of a replica: how soon a killed one is replaced."""
STOP_TIMEOUT_S = 3.0
"""Seconds that a stopping replica has to finish its requests. It comes after `DRAIN_TIMEOUT_S`."""
STOP_POLL_S = 0.2
"""Seconds between two looks of a stopping replica at its requests."""
BUSY_REQUESTS = 32
"""Requests at a time per HTTP or profile replica above which autoscaling adds one."""
MAX_QUEUED_REQUESTS = 200
"""Maximum number of requests that wait for a ranking replica; further ones get the popular videos."""


def build(config: ServeConfig) -> Application:
    """Build the application: HTTP calls ranking, ranking calls profiles and the encoder.

    Bundle, A/B test and tenants are the only settings in each deployment's `user_config`. If they alone
    change, Serve passes them to the running replicas, which move to them while they go on answering.

    Raises:
        ServeError: As in `check_host`, `check_tenants` and `check_hand_overs`.
        PrivacyError: As in `check_door`.
    """
    with fixes_in_tracebacks():
        check_host(config)
        check_tenants(config)
        check_hand_overs(config)
        check_door(config)
    fixed, replicas = config.model_copy(update={"bundle": "", "tenants": {}}), config.replicas
    deployment = partial(_deployment, config)
    profiles = deployment(
        ProfilesHost,
        "Profiles",
        replicas.profiles_cpus,
        max_ongoing_requests=1_000,
        **_size(replicas.profiles, replicas.profiles_most, BUSY_REQUESTS),
    ).bind(fixed)
    encoder = None
    if replicas.encoder:
        encoder = deployment(
            EncoderDeployment,
            "Encoder",
            replicas.encoder_cpus,
            gpus=replicas.encoder_gpus,
            max_ongoing_requests=64,
            **_size(replicas.encoder, replicas.encoder_most, 4),
        ).bind(fixed, "cuda" if replicas.encoder_gpus else "cpu")
    ranking = None
    if replicas.ranking:
        ranking = deployment(
            RankingHost,
            "Ranking",
            replicas.ranking_cpus,
            max_ongoing_requests=32,
            max_queued_requests=MAX_QUEUED_REQUESTS,
            **_size(replicas.ranking, replicas.ranking_most, 4),
        ).bind(fixed, profiles, encoder, shards=_shards(config, fixed, profiles))
    content = None
    if follows_content(config):
        # One, which reserves nothing: it waits for the actors that do the work.
        content = deployment(StreamContentHost, "StreamContent", 0.0, num_replicas=1).bind(fixed, profiles)
    cpus = replicas.api_cpus + (0 if replicas.ranking else replicas.ranking_cpus)
    api = deployment(
        serve.ingress()(ApiHost),
        "Api",
        cpus,
        max_ongoing_requests=1_000,
        **_size(replicas.api, replicas.api_most, BUSY_REQUESTS),
    )
    return api.bind(fixed, ranking, profiles, encoder, content)


def _shards(config: ServeConfig, fixed: ServeConfig, profiles: Any) -> list[Any]:
    """Return the deployments of the parts of the catalog, one each: Serve replaces and routes to copies of a
    part without knowing of the others."""
    replicas = config.replicas
    return [
        _deployment(
            config,
            CatalogShard,
            shard_name(number),
            replicas.shard_cpus,
            num_replicas=replicas.shard_copies,
            max_ongoing_requests=64,
        ).bind(fixed, profiles, number)
        for number in range(replicas.shards)
    ]


def shard_name(number: int) -> str:
    """Return the name of the deployment of a part of the catalog."""
    return f"CatalogShard{number}"


def _deployment(config: ServeConfig, kind: type, name: str, cpus: float, **options: Any) -> Any:
    resources = {"num_cpus": cpus, "num_gpus": options.pop("gpus", 0)}
    return serve.deployment(
        kind,
        name=name,
        user_config=user_config(config),
        ray_actor_options=resources,
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        graceful_shutdown_timeout_s=STOP_TIMEOUT_S,
        graceful_shutdown_wait_loop_s=STOP_POLL_S,
        **options,
    )


def follows_content(config: ServeConfig) -> bool:
    """Return whether the content of live streams is followed: where it can be embedded, and may be read."""
    can_read = any(is_web(root) or local_path(root) is not None for root in config.security.media_roots)
    return can_read and config.live.streams_per_follower > 0 and config.replicas.encoder > 0


def deployments(config: ServeConfig) -> list[str]:
    """Return the names of the application's deployments.

    Each takes `user_config: {bundle: …}`, which moves it to another bundle when it changes.
    """
    replicas = config.replicas
    counts = {"Profiles": replicas.profiles, "Encoder": replicas.encoder, "Ranking": replicas.ranking}
    counts |= dict.fromkeys(map(shard_name, range(replicas.shards)), replicas.shard_copies)
    counts["StreamContent"] = int(follows_content(config))
    return [*(name for name, count in counts.items() if count), "Api"]


def _size(least: int, most: int | None, requests: int) -> dict[str, Any]:
    """Return the options for a number of replicas; with a greater maximum, Serve adds replicas by load.

    Args:
        least: Number of replicas, the minimum under autoscaling.
        most: Maximum number of replicas; None for no autoscaling.
        requests: Requests at a time per replica that autoscaling aims at.
    """
    if most is None or most <= least:
        return {"num_replicas": least}
    return {
        "autoscaling_config": {
            "min_replicas": least,
            "max_replicas": most,
            "target_ongoing_requests": requests,
        }
    }


def user_config(config: ServeConfig) -> dict[str, Any]:
    """Return what may change while the service runs: bundle, A/B test, and the tenants if there are any."""
    tenants = {name: tenant.model_dump(mode="json") for name, tenant in config.tenants.items()}
    return {
        "bundle": config.bundle,
        "arms": config.arms.model_dump(mode="json"),
        **({"tenants": tenants} if tenants else {}),
    }


def check_hand_overs(config: ServeConfig) -> None:
    """Raise ServeError if hand-overs of any shop are to be posted and there is no secret to sign them."""
    for shop in (config, *(config.of_tenant(name) for name in config.tenants)):
        hand_over_secret(shop.assistant.handover)


def check_tenants(config: ServeConfig) -> None:
    """Raise ServeError if there are tenants and no API keys, by which alone they are told apart."""
    if config.tenants and not read_secret(config.security.keys_variable):
        raise ServeError(
            f"serve.tenants has {len(config.tenants)}, and {config.security.keys_variable} has no keys",
            fix=f"make a key for each with `vrec serve --new-key TENANT/NAME:SCOPES`, and put it into "
            f"{config.security.keys_variable} here and where Ray starts, or into the file that "
            f"{config.security.keys_variable}_FILE names",
        )


def check_host(config: ServeConfig) -> None:
    """Raise ServeError if the service would listen beyond loopback without API keys."""
    try:
        is_loopback = config.host == "localhost" or ipaddress.ip_address(config.host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback and not read_secret(config.security.keys_variable):
        raise ServeError(
            f"serve.host is {config.host}, and {config.security.keys_variable} has no keys",
            fix=f"make a key with `vrec serve --new-key NAME:SCOPES`, put it into "
            f"{config.security.keys_variable} here and where Ray starts (on every node; then start Ray "
            "again), or listen on 127.0.0.1",
        )
