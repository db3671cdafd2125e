"""Uses of Ray Serve that have no public name. All others in vrec go by its public interface."""

from typing import Any

from ray import serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema


def deploy_applications(config: ServeDeploySchema) -> None:
    """Deploy the applications of a Serve config, and return once the controller has accepted it."""
    # The public ways to deploy a config, `serve deploy` and the REST interface behind it, need Ray's
    # dashboard, and `serve.run` takes no config.
    client: Any = _get_global_client()
    client.deploy_apps(config)


def http_address() -> tuple[str, int] | None:
    """Return host and port of the cluster's Serve; None while Serve does not run."""
    client: Any = _get_global_client(raise_if_no_controller_running=False)
    return None if client is None else (client.http_config.host, client.http_config.port)


def deployed_application(application: str) -> dict[str, Any] | None:
    """Return an application's config as it was deployed; None if it is not deployed by a config."""
    client: Any = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return None
    details = client.get_serve_details()["applications"].get(application)
    return None if details is None else details["deployed_app_config"]


def blocking_handle(deployment: str, application: str) -> Any:
    """Return a handle of a deployment whose `remote(…).result()` works outside an event loop."""
    handle: Any = serve.get_deployment_handle(deployment, application)
    # With RAY_SERVE_THROUGHPUT_OPTIMIZED, a handle works in an event loop only, unless it is initialized so.
    # Serve caches handles, so that this one may be initialized already.
    if not handle.is_initialized:
        handle._init(_run_router_in_separate_loop=True)
    return handle
