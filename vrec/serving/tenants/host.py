"""Deployment that hosts a shop per tenant: each is an object of its own, with its own data and settings."""

import asyncio
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar

from vrec.config.serve import ServeConfig, TenantConfig, experiment_settings
from vrec.core.errors import VrecError
from vrec.serving.bundle_swap import ServedBundle
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.tenants.context import DEFAULT_TENANT, as_tenant, name_tenants_in_logs

logger = logging.getLogger("ray.serve")

LOADED_AT_ONCE = 4
"""Shops that are opened at the same time while the service starts."""


class TenantShop(Protocol):
    """Part of one tenant's shop that a deployment hosts."""

    @property
    def served(self) -> ServedBundle[Any]:
        """Bundle in service, and why another one was refused."""
        ...

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move to the named bundle; raise if there is no sound one."""
        ...

    async def close(self) -> None:
        """Stop its tasks and close what it has open."""
        ...

    async def check_health(self) -> None:
        """Raise if it does not follow changes any more."""
        ...


S = TypeVar("S", bound=TenantShop)
H = TypeVar("H", bound="type[TenantHost[Any]]")


class TenantHost(ABC, Generic[S]):
    """Deployment of the default tenant's shop and of those of the tenants that its `user_config` declares.

    A shop that cannot be opened is refused with its reason, and all others are in service.
    """

    def __init__(self, config: ServeConfig) -> None:
        name_tenants_in_logs()
        self.config = config
        self.default: S = self.make_shop(config, DEFAULT_TENANT)
        """Shop of the default tenant."""
        self.declared: dict[str, TenantConfig] = {}
        """Settings of the tenants."""
        self.refused_tenants: dict[str, tuple[str, str]] = {}
        """Reason why a tenant's shop is not in service, and the fix, by tenant."""
        self._shops: dict[str, S] = {}
        self._declaring = asyncio.Lock()

    @abstractmethod
    def make_shop(self, config: ServeConfig, tenant: str) -> S:
        """Return a tenant's shop without a bundle."""

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """Move the default tenant's shop to its bundle, and open, move or close those of the others."""
        await self.default.reconfigure(user_config)
        if user_config.get("draining"):
            return
        # Tenants without an A/B test of their own have that of the service.
        self.config = self.config.model_copy(update={"arms": experiment_settings(user_config, self.config)})
        declared = {
            name: TenantConfig.model_validate(one) for name, one in user_config.get("tenants", {}).items()
        }
        async with self._declaring:
            before, self.declared = self.declared, declared
            for name in before.keys() - declared.keys():
                await self.drop(name)
                self.refused_tenants.pop(name, None)
            limit = asyncio.Semaphore(LOADED_AT_ONCE)

            async def declare(name: str) -> None:
                async with limit:
                    with as_tenant(name):
                        await self._declare(name, before.get(name))

            await asyncio.gather(*(declare(name) for name in declared))

    async def refusals(self) -> dict[str, tuple[str, str]]:
        """Return why tenants' shops are not in service with their bundles, and the fix, by tenant."""
        earlier = {name: shop.served.refusal for name, shop in self._shops.items()}
        return {name: why for name, why in earlier.items() if why is not None} | self.refused_tenants

    async def check_health(self) -> None:
        """Raise if a shop does not follow changes any more; Serve then replaces the replica."""
        for shop in self.all_shops().values():
            await shop.check_health()

    def all_shops(self) -> dict[str, S]:
        """Return the shops in service, by tenant, the default one's among them."""
        return {DEFAULT_TENANT: self.default, **self._shops}

    def config_of(self, tenant: str) -> ServeConfig:
        """Return the settings of a declared tenant's shop."""
        return self.config.model_copy(update={"tenants": self.declared}).of_tenant(tenant)

    def user_config_of(self, tenant: str) -> dict[str, Any]:
        """Return what may change of a declared tenant's shop while it is in service."""
        config = self.config_of(tenant)
        return {"bundle": config.bundle, "arms": config.arms.model_dump(mode="json")}

    @asynccontextmanager
    async def shop_of(self, tenant: str) -> AsyncIterator[S]:
        """Yield a tenant's shop for a call; raises BackendUnavailable if it is not in service here."""
        yield self.default if tenant == DEFAULT_TENANT else self.find(tenant)

    def find(self, tenant: str) -> S:
        """Return the shop of a tenant that is not the default; raises BackendUnavailable."""
        if (shop := self._shops.get(tenant)) is None:
            why, fix = self.refused_tenants.get(tenant, ("it is not declared here", ""))
            raise BackendUnavailable(f"the tenant {tenant} is not in service: {why}", fix=fix or None)
        return shop

    async def open(self, tenant: str) -> None:
        """Put a tenant's bundle in service, in its shop or in one made now; raises if it is refused."""
        shop = self._shops.get(tenant) or self.make_shop(self.config_of(tenant), tenant)
        try:
            await shop.reconfigure(self.user_config_of(tenant))
        except BaseException:
            if tenant not in self._shops:
                await shop.close()
            raise
        self._shops[tenant] = shop

    async def drop(self, tenant: str) -> None:
        """Take a tenant's shop out of service."""
        if (shop := self._shops.pop(tenant, None)) is not None:
            await shop.close()

    async def _declare(self, tenant: str, before: TenantConfig | None) -> None:
        now = self.declared[tenant]
        if before is not None and before.model_copy(update={"bundle": now.bundle, "arms": now.arms}) != now:
            await self.drop(tenant)
        try:
            await self.open(tenant)
        except Exception as error:  # whatever is wrong with one shop, the others are in service
            fix = error.fix if isinstance(error, VrecError) else "see the service's log"
            self.refused_tenants[tenant] = (f"{error}" or type(error).__name__, fix)
            logger.exception("tenant refused")
        else:
            self.refused_tenants.pop(tenant, None)


def hosts(shop: type) -> Callable[[H], H]:
    """Return a class decorator that adds the public coroutine methods of a shop's class to its host.

    Each takes the tenant before its arguments and calls the method of that tenant's shop.
    """

    def add(host: H) -> H:
        for name, _ in inspect.getmembers(shop, inspect.iscoroutinefunction):
            if name[0] != "_" and not hasattr(TenantShop, name):
                setattr(host, name, _forward(name))
        return host

    return add


def _forward(name: str) -> Callable[..., Any]:
    async def call(self: TenantHost[Any], tenant: str, *args: Any) -> Any:
        with as_tenant(tenant):
            async with self.shop_of(tenant) as shop:
                return await getattr(shop, name)(*args)

    call.__name__ = name
    return call
