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


def blocking_handle(deployment: str, application: str) -> Any:
    """Return a handle of a deployment whose `remote(…).result()` works outside an event loop."""
    handle: Any = serve.get_deployment_handle(deployment, application)
    # With RAY_SERVE_THROUGHPUT_OPTIMIZED, a handle works in an event loop only, unless it is initialized so.
    # Serve caches handles, so that this one may be initialized already.
    if not handle.is_initialized:
        handle._init(_run_router_in_separate_loop=True)
    return handle
