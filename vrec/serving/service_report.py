"""Report on the bundle in service and the replicas, for people."""

import json
from typing import TypeVar

from ray import serve
from ray.serve.exceptions import RayServeException

from vrec.bundle.summary import Figures, offline_figures
from vrec.core.errors import VrecError
from vrec.core.masking import mask_credentials
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.service_state import ReplicaCounts, ServiceState

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


def _manifest_metrics(uri: str) -> Figures:
    """Return the offline figures in a bundle's manifest, by model; {} if it cannot be read any more."""
    try:
        metrics = json.loads(StorageFolder(uri).read(MANIFEST))["metrics"]
    except (OSError, ValueError, TypeError, AttributeError, KeyError, VrecError):
        return {}
    return offline_figures(metrics)


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
