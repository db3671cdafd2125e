"""The graph as a Ray Serve application: `serve run`, `serve deploy` and `vrec serve` all build it here."""

import ipaddress
import os
from typing import Any

from ray import serve
from ray.serve import Application

from vrec.config.serve import ServeConfig
from vrec.core.errors import ServeError
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.encoder import EncoderDeployment
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.ranking import RankingDeployment

HEALTH_CHECK_PERIOD_S = 1.0
"""Seconds between two looks at whether a replica is alive: how soon a killed one is missed."""
MAX_QUEUED_REQUESTS = 200
"""Requests that wait for a ranking replica at most; beyond, answers are the popular videos."""


def build(config: ServeConfig) -> Application:
    """The application: HTTP before ranking before profiles, and the encoder beside them.

    The bundle reaches every deployment as its `user_config`, and nothing else does: where that alone changes,
    Serve hands it to the replicas that run, which move to the new bundle while they go on answering. Raises
    ServeError as `check_host`.
    """
    check_host(config)
    own = config.model_copy(update={"bundle": ""})
    bundle, replicas = {"bundle": config.bundle}, config.replicas

    def node(kind: type, name: str, cpus: float, **options: Any) -> Any:
        resources = {"num_cpus": cpus, "num_gpus": options.pop("gpus", 0)}
        return serve.deployment(
            kind,
            name=name,
            user_config=bundle,
            ray_actor_options=resources,
            health_check_period_s=HEALTH_CHECK_PERIOD_S,
            graceful_shutdown_timeout_s=10,
            **options,
        )

    profiles = node(
        ProfilesDeployment,
        "Profiles",
        replicas.profiles_cpus,
        num_replicas=replicas.profiles,
        max_ongoing_requests=1_000,
    ).bind(own)
    encoder = None
    if replicas.encoder:
        encoder = node(
            EncoderDeployment,
            "Encoder",
            replicas.encoder_cpus,
            gpus=replicas.encoder_gpus,
            num_replicas=replicas.encoder,
            max_ongoing_requests=64,
        ).bind(own, "cuda" if replicas.encoder_gpus else "cpu")
    ranking = None
    if replicas.ranking:
        ranking = node(
            RankingDeployment,
            "Ranking",
            replicas.ranking_cpus,
            max_ongoing_requests=32,
            max_queued_requests=MAX_QUEUED_REQUESTS,
            **_ranking_size(config),
        ).bind(own, profiles, encoder)
    cpus = replicas.api_cpus + (0 if replicas.ranking else replicas.ranking_cpus)
    api = node(
        serve.ingress()(ApiDeployment), "Api", cpus, num_replicas=replicas.api, max_ongoing_requests=1_000
    )
    return api.bind(own, ranking, profiles, encoder)


def deployments(config: ServeConfig) -> list[str]:
    """The names of the application's deployments, all of which take `user_config: {bundle: …}`: another one
    there is a hot reload."""
    replicas = config.replicas
    counts = {"Profiles": replicas.profiles, "Encoder": replicas.encoder, "Ranking": replicas.ranking}
    return [*(name for name, count in counts.items() if count), "Api"]


def _ranking_size(config: ServeConfig) -> dict[str, Any]:
    replicas = config.replicas
    if replicas.ranking_most is None or replicas.ranking_most <= replicas.ranking:
        return {"num_replicas": replicas.ranking}
    return {
        "autoscaling_config": {
            "min_replicas": replicas.ranking,
            "max_replicas": replicas.ranking_most,
            "target_ongoing_requests": 4,
        }
    }


def check_host(config: ServeConfig) -> None:
    """Raises ServeError where anyone on the network could call a service that asks for no key."""
    try:
        is_loopback = config.host == "localhost" or ipaddress.ip_address(config.host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback and not os.environ.get(config.security.keys_variable):
        raise ServeError(
            f"serve.host is {config.host}, and {config.security.keys_variable} has no keys",
            fix="make a key with `vrec serve --new-key NAME:SCOPES`, or listen on 127.0.0.1",
        )
