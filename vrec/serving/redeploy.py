"""Changes of the running service from within: its deployed settings with another bundle."""

from collections.abc import Mapping
from typing import Any

from ray.serve.schema import ServeDeploySchema

from vrec.config.serve import ServeConfig, TenantConfig
from vrec.core.errors import BundleError, ServeError
from vrec.serving.app import deployments, user_config
from vrec.serving.deploy import APPLICATION_NAME, check_refusal, refused_tenants, wait_until_running
from vrec.serving.ray_internals import deploy_applications, deployed_application
from vrec.serving.tenants.context import DEFAULT_TENANT


def is_changeable(application: str) -> bool:
    """Return whether an application is the service, deployed by a config that can be changed."""
    return application == APPLICATION_NAME and deployed_application(application) is not None


def change_bundle(tenant: str, uri: str) -> None:
    """Move a tenant's shop in the running service to a bundle, as `vrec serve --bundle` does.

    The bundle is loaded and checked here first, so that one that cannot rank reaches no deployment. All other
    settings stay as they were deployed, also where `serve deploy` did it.

    Raises:
        ServeError: The service does not run, lacks the tenant, was moved meanwhile, or fails.
        BundleError: The bundle is refused; the one before stays in service.
    """
    before = bundle_of(_deployed(), tenant)
    _check_bundle(uri)
    deployed = _deployed()
    if bundle_of(deployed, tenant) != before:
        raise ServeError(
            "the service was moved to another bundle meanwhile, and stays there",
            fix="send the request again if the move is still wanted",
        )
    config, changed = with_bundle(deployed, tenant, uri)
    deploy_applications(ServeDeploySchema.model_validate({"applications": [changed]}))
    wait_until_running()
    if tenant == DEFAULT_TENANT:
        check_refusal(config, reloaded=True)
    elif refusal := refused_tenants(config, [tenant]).get(tenant):
        why, _, fix = refusal.partition(". Fix: ")
        raise BundleError(why, fix=fix or None)


def _deployed() -> dict[str, Any]:
    deployed = deployed_application(APPLICATION_NAME)
    if deployed is None:
        raise ServeError("the service does not run any more", fix="start it again")
    return deployed


def bundle_of(deployed: Mapping[str, Any], tenant: str) -> str | None:
    """Return the bundle of a tenant in a deployed application; None if the tenant is not there."""
    values = next(iter(_user_configs(deployed).values()))
    shop = values if tenant == DEFAULT_TENANT else values.get("tenants", {}).get(tenant, {})
    return shop.get("bundle")


def _user_configs(deployed: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what may change while the service runs by deployment."""
    config = ServeConfig.model_validate(deployed["args"])
    # A config file need not name all deployments, which then have what the application was built with.
    found = {name: user_config(config) for name in deployments(config)}
    given = {one["name"]: one.get("user_config") for one in deployed.get("deployments") or ()}
    return found | {name: dict(values) for name, values in given.items() if values}


def _check_bundle(uri: str) -> None:
    # Imported here, so that a process that only asks whether the service can be changed does not load torch.
    import torch

    from vrec.bundle.bundle import ServingBundle

    # The service has the cores of the machine.
    torch.set_num_threads(1)
    ServingBundle.load(uri).check()


def with_bundle(deployed: Mapping[str, Any], tenant: str, uri: str) -> tuple[ServeConfig, dict[str, Any]]:
    """Return the settings of a deployed application and its config with another bundle of a tenant.

    Args:
        deployed: Application as in a Serve config file.
        tenant: The tenant.
        uri: Folder of the bundle.

    Raises:
        ServeError: There is no such tenant.
    """
    config = ServeConfig.model_validate(deployed["args"])
    found = _user_configs(deployed)
    before = {one["name"]: one for one in deployed.get("deployments") or ()}
    for values in found.values():
        if tenant == DEFAULT_TENANT:
            values["bundle"] = uri
            continue
        if tenant not in values.get("tenants", {}):
            raise ServeError(f"the tenant {tenant} is not in service any more", fix="see serve.tenants")
        values["tenants"] = dict(values["tenants"])
        values["tenants"][tenant] = {**values["tenants"][tenant], "bundle": uri}
    tenants = next(iter(found.values())).get("tenants", {})
    declared = {name: TenantConfig.model_validate(one) for name, one in tenants.items()}
    changed = [{**before.get(name, {"name": name}), "user_config": values} for name, values in found.items()]
    return config.model_copy(update={"tenants": declared}), {**deployed, "deployments": changed}
