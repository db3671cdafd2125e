"""Settings of the running service, which a command keeps where it names none."""

from collections.abc import Mapping
from typing import Any, TypeVar

from vrec.config.serve import ServeConfig, TenantConfig, experiment_settings
from vrec.core.config import BaseConfig
from vrec.core.errors import ServeError
from vrec.serving.ray_internals import deployed_application, http_address

ConfigT = TypeVar("ConfigT", bound=BaseConfig)


def running_settings(application: str) -> tuple[ServeConfig, Mapping[str, Any]]:
    """Return the settings of the running service, and its `args` as they were deployed.

    Raises:
        ServeError: It was not deployed by a config.
    """
    deployed = deployed_application(application)
    if deployed is None:
        raise ServeError(
            f"the application {application} was not deployed by `vrec serve` or `serve deploy`",
            fix="stop it, and start it with one of them",
        )
    # A Serve config file leaves out what is as by default.
    config = ServeConfig.model_validate(deployed["args"])
    found = [one.get("user_config") or {} for one in deployed.get("deployments") or ()]
    tenants = {name: one for values in found for name, one in values.get("tenants", {}).items()}
    changes: dict[str, Any] = {
        "bundle": next((one["bundle"] for one in found if "bundle" in one), config.bundle),
        "arms": experiment_settings(next((one for one in found if "arms" in one), {}), config),
        "tenants": {name: TenantConfig.model_validate(one) for name, one in tenants.items()},
    }
    # Serve itself listens, whatever the settings of an application say.
    if (listens := http_address()) is not None:
        changes["host"], changes["port"] = listens
    return config.model_copy(update=changes), deployed["args"]


def with_running(config: ConfigT, running: ConfigT) -> ConfigT:
    """Return settings in which those that were not set are as in the running service.

    Groups are filled in setting by setting; dicts and lists, such as tenants, are taken whole.
    """
    changes: dict[str, Any] = {}
    for name in type(config).model_fields:
        given, runs = getattr(config, name), getattr(running, name)
        if name not in config.model_fields_set:
            changes[name] = runs
        elif isinstance(given, BaseConfig) and type(given) is type(runs):
            changes[name] = with_running(given, runs)
    return config.model_copy(update=changes)
