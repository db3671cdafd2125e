"""Report on the bundle in service and the replicas, for people."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from ray import serve
from ray.serve.exceptions import RayServeException

from vrec.bundle.catalog import INDEX, RANKER
from vrec.core.errors import VrecError
from vrec.core.masking import mask_credentials
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.uris import join_uri
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.deployments.protocol import BackendUnavailable, ReplicaCounts, ServiceState

T = TypeVar("T")


def service_state(served: ServedBundle[T], refused: tuple[str, str] | None) -> ServiceState:
    """Return the state of a deployment's bundle and of all replicas; it reads files and asks Ray.

    Raises:
        BackendUnavailable: No bundle is loaded yet.
    """
    bundle = served.bundle
    if bundle is None:
        raise BackendUnavailable("no bundle is loaded yet")
    return ServiceState(
        uri=mask_credentials(bundle.uri),
        version=bundle.version,
        made_at=bundle.made_at,
        loaded_at=served.loaded_at,
        videos=bundle.videos.num_rows,
        encoder=bundle.encoder,
        metrics=_manifest_metrics(bundle.uri),
        refused=refused,
        previous=served.last_good().get("previous"),
        replicas=_replicas(),
    )


def _manifest_metrics(uri: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the metrics of the bundle's and its components' manifests; {} for what cannot be read."""
    found = {}
    for name, place in (("bundle", uri), (RANKER, join_uri(uri, RANKER)), (INDEX, join_uri(uri, INDEX))):
        try:
            metrics = json.loads(StorageFolder(place).read(MANIFEST)).get("metrics")
        except (OSError, ValueError, VrecError):
            continue
        if metrics:
            found[name] = metrics
    return found


def _replicas() -> tuple[ReplicaCounts, ...] | None:
    """Return the replicas of this process's application; None outside of Ray Serve."""
    try:
        application = serve.get_replica_context().app_name
    except RayServeException:
        return None
    deployments = serve.status().applications[application].deployments
    return tuple(
        ReplicaCounts(name, str(one.status.value), {str(state): n for state, n in one.replica_states.items()})
        for name, one in sorted(deployments.items())
    )
