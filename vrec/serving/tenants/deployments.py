"""Deployments of the service, each of which hosts its part of every tenant's shop."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from ray import serve
from starlette.types import ASGIApp

from vrec.config.serve import ServeConfig
from vrec.serving.deployments.api import ApiDeployment
from vrec.serving.deployments.handles import EncoderHandle, ProfilesHandle, RankingHandle
from vrec.serving.deployments.profiles import ProfilesDeployment
from vrec.serving.deployments.protocol import BackendUnavailable
from vrec.serving.deployments.ranking.deployment import RankingDeployment
from vrec.serving.deployments.ranking.gathering import GatheringDeployment
from vrec.serving.deployments.store_ends import SharedEnds, StoreEnds, read_ends
from vrec.serving.deployments.stream_content import StreamContentDeployment
from vrec.serving.http.app import TenantHttp
from vrec.serving.http.keys import ApiKeyring
from vrec.serving.tenants.context import DEFAULT_TENANT
from vrec.serving.tenants.dispatch import TenantDispatcher
from vrec.serving.tenants.encoders import shared_encoder_check
from vrec.serving.tenants.handles import TenantHandle
from vrec.serving.tenants.host import TenantHost, hosts
from vrec.serving.tenants.warm import Multiplexed, WarmShops


@hosts(ProfilesDeployment)
class ProfilesHost(TenantHost[ProfilesDeployment]):
    """Deployment of the stores: one per tenant, in a file or below a prefix of its own."""

    def __init__(self, config: ServeConfig) -> None:
        """Build the deployment with the settings of the service."""
        self._ends = SharedEnds(self.ends, config.refresh_s / 2, config.apply_timeout_s)
        super().__init__(config)

    async def ends(self) -> dict[str, StoreEnds]:
        """Return the ends of the logs of all stores that are open, by tenant."""
        opened = {name: shop.opened for name, shop in self.all_shops().items()}
        return await asyncio.to_thread(
            read_ends, {name: store for name, store in opened.items() if store is not None}
        )

    def make_shop(self, config: ServeConfig, tenant: str) -> ProfilesDeployment:
        """See TenantHost."""
        if tenant == DEFAULT_TENANT:
            return ProfilesDeployment(config, ends=self._ends.reader(tenant))
        check = shared_encoder_check(lambda: self.default.served.bundle)
        return ProfilesDeployment(config, check, self._ends.reader(tenant), tenant)


@hosts(RankingDeployment)
class RankingHost(TenantHost[RankingDeployment]):
    """Deployment that ranks: the default tenant's bundle is in memory, and those of a few others.

    Serve's multiplexing loads the others when they are wanted, lets go of the one that was used least
    recently, and routes requests to replicas where their tenant is warm.
    """

    def __init__(
        self,
        config: ServeConfig,
        profiles: Any,
        encoder: EncoderHandle | None,
        multiplexed: Multiplexed = serve.multiplexed,
        shards: Sequence[Any] = (),
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            profiles: Handle of a `ProfilesHost`.
            encoder: Handle of the encoder deployment; without one, search is by words alone.
            multiplexed: Serve's decorator of that name.
            shards: Handles of the parts of the default tenant's catalog; none if it is whole here.
        """
        self._profiles, self._encoder, self._shards = profiles, encoder, shards
        self._ends = SharedEnds(profiles.ends.remote, config.refresh_s / 2, config.apply_timeout_s)
        super().__init__(config)
        self._warm = WarmShops(self._load, config.warm_tenants, multiplexed)

    def make_shop(self, config: ServeConfig, tenant: str) -> RankingDeployment:
        """See TenantHost."""
        profiles = cast("ProfilesHandle", TenantHandle(self._profiles, tenant))
        ends = self._ends.reader(tenant)
        if tenant == DEFAULT_TENANT and self._shards:
            shop: Any = GatheringDeployment(config, profiles, self._encoder, self._shards, ends=ends)
            return shop
        if tenant == DEFAULT_TENANT:
            return RankingDeployment(config, profiles, self._encoder, ends=ends)
        check = shared_encoder_check(lambda: self.default.served.bundle)
        return RankingDeployment(config, profiles, self._encoder, check, stays=False, ends=ends)

    @asynccontextmanager
    async def shop_of(self, tenant: str) -> AsyncIterator[RankingDeployment]:
        """Yield a tenant's shop for a call, after its bundle was loaded if it is not warm."""
        if tenant == DEFAULT_TENANT:
            yield self.default
            return
        if tenant not in self.declared:
            raise BackendUnavailable(f"the tenant {tenant} is not declared here")
        async with self._warm.use(tenant) as shop:
            yield shop

    async def open(self, tenant: str) -> None:
        """Move a tenant's shop to its bundle if it is warm; others are loaded when they are wanted."""
        await self._warm.move(tenant, self.declared[tenant].bundle)

    async def drop(self, tenant: str) -> None:
        """See TenantHost."""
        await self._warm.drop(tenant)

    async def _load(self, tenant: str) -> RankingDeployment:
        shop = self.make_shop(self.config_of(tenant), tenant)
        try:
            await shop.reconfigure(self.user_config_of(tenant))
        except BaseException:
            await shop.close()
            raise
        return shop


@hosts(StreamContentDeployment)
class StreamContentHost(TenantHost[StreamContentDeployment]):
    """Deployment that has the content of live streams followed, of each tenant by actors of its own."""

    def __init__(self, config: ServeConfig, profiles: Any) -> None:
        """Build the deployment with the settings of the service and the handle of a `ProfilesHost`."""
        self._profiles = profiles
        self._ends = SharedEnds(profiles.ends.remote, config.refresh_s / 2, config.apply_timeout_s)
        super().__init__(config)

    def make_shop(self, config: ServeConfig, tenant: str) -> StreamContentDeployment:
        """See TenantHost."""
        profiles = cast("ProfilesHandle", TenantHandle(self._profiles, tenant))
        check = shared_encoder_check(lambda: self.default.served.bundle) if tenant else None
        return StreamContentDeployment(config, profiles, check, ends=self._ends.reader(tenant))


@hosts(ApiDeployment)
class ApiHost(TenantHost[ApiDeployment]):
    """Deployment for HTTP: an application per tenant, which knows of that tenant's shop alone."""

    def __init__(
        self,
        config: ServeConfig,
        ranking: Any,
        profiles: Any,
        encoder: EncoderHandle | None,
        content: Any = None,
    ) -> None:
        """Build the deployment.

        Args:
            config: The settings of the service.
            ranking: Handle of a `RankingHost`; None ranks all tenants' requests in this process.
            profiles: Handle of a `ProfilesHost`.
            encoder: Handle of the encoder deployment; None refuses uploads.
            content: Handle of a `StreamContentHost`, which Serve starts because it is named here; it is not
                called.
        """
        del content
        self._ranking, self._profiles, self._encoder = ranking, profiles, encoder
        self._ends = SharedEnds(profiles.ends.remote, config.refresh_s / 2, config.apply_timeout_s)
        super().__init__(config)
        self._apps: dict[str, tuple[ApiDeployment, ASGIApp]] = {}
        self._making = asyncio.Lock()

    async def reconfigure(self, user_config: Mapping[str, Any]) -> None:
        """See TenantHost."""
        await super().reconfigure(user_config)
        if user_config.get("draining"):
            await asyncio.gather(*(shop.searches.close() for shop in self._shops.values()))

    def make_shop(self, config: ServeConfig, tenant: str) -> ApiDeployment:
        """See TenantHost."""
        profiles, ranking = cast("ProfilesHandle", TenantHandle(self._profiles, tenant)), None
        if self._ranking is not None:
            warm = self._ranking.options(multiplexed_model_id=tenant) if tenant else self._ranking
            ranking = cast("RankingHandle", TenantHandle(warm, tenant))
        check = shared_encoder_check(lambda: self.default.served.bundle) if tenant else None
        ends = self._ends.reader(tenant)
        return ApiDeployment(config, ranking, profiles, self._encoder, check=check, ends=ends, tenant=tenant)

    def __serve_build_asgi_app__(self) -> TenantDispatcher:
        keys = ApiKeyring.from_environment(os.environ, self.config.security.keys_variable, tenant=None)
        self._apps[DEFAULT_TENANT] = (self.default, self.default.http_app())
        return TenantDispatcher(self._app_of, lambda: self.declared, keys)

    async def _app_of(self, tenant: str) -> ASGIApp:
        """Return the application of a tenant's shop, made by its first request."""
        shop = self.default if tenant == DEFAULT_TENANT else self.find(tenant)
        made = self._apps.get(tenant)
        if made is None or made[0] is not shop:
            made = await self._make_app(tenant, shop)
        return made[1]

    async def _make_app(self, tenant: str, shop: ApiDeployment) -> tuple[ApiDeployment, ASGIApp]:
        async with self._making:
            made = self._apps.get(tenant)
            if made is None or made[0] is not shop:
                http = TenantHttp(tenant, self.declared[tenant].limits, self.config.data)
                made = (shop, await asyncio.to_thread(shop.http_app, self.default.gate, http))
                self._apps[tenant] = made
            return made

    async def drop(self, tenant: str) -> None:
        """See TenantHost."""
        self._apps.pop(tenant, None)
        await super().drop(tenant)
