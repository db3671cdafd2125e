"""Service of several shops in the test's own process: the deployments' hosts with direct handles."""

import asyncio
import hashlib
import json
from collections import OrderedDict

from tests.serving.deployments.test_profiles import config_in
from tests.serving.direct import Direct
from tests.serving.http.client import acall
from vrec.serving.tenants.deployments import ApiHost, ProfilesHost, RankingHost

DEFAULT = ""


def secret_of(tenant):
    return f"secret of {tenant or 'the default'}"


def key_entries(*tenants):
    """Entries of VREC_API_KEYS: one key with all scopes for each tenant."""
    digests = {name: hashlib.sha256(secret_of(name).encode()).hexdigest() for name in tenants}
    return ",".join(
        f"{name}{'/' if name else ''}shop:read+events+manage:{digest}" for name, digest in digests.items()
    )


def multiplexed(max_num_models_per_replica):
    """Serve's decorator of that name without a replica: the one used least recently leaves."""

    def decorate(load):
        places, lock = OrderedDict(), asyncio.Lock()

        async def get(name):
            async with lock:
                if name not in places:
                    while len(places) >= max_num_models_per_replica:
                        places.popitem(last=False)[1].__del__()
                    places[name] = await load(name)
                places.move_to_end(name)
                return places[name]

        get.places = places
        return get

    return decorate


class Service:
    """The default tenant and others, with their HTTP; `within` ranks in the HTTP deployment."""

    def __init__(self, folder, *, within=False, **more):
        config = config_in(folder, **more)
        self.profiles = ProfilesHost(config)
        self.ranking = None if within else RankingHost(config, Direct(self.profiles), None, multiplexed)
        ranking = None if within else Direct(self.ranking)
        self.api = ApiHost(config, ranking, Direct(self.profiles), None)
        self.app = self.api.__serve_build_asgi_app__()
        self.hosts = [one for one in (self.profiles, self.ranking, self.api) if one is not None]

    async def declare(self, bundle, tenants):
        """Give all deployments the bundle of the default tenant, and the settings of the others by name."""
        for host in self.hosts:
            await host.reconfigure({"bundle": bundle, "tenants": tenants})

    async def send(self, tenant, method, path, content=None, headers=None, **more):
        """Return the reply to a request with a tenant's key; None sends none."""
        body = b"" if content is None else json.dumps(content).encode()
        given = {"content-type": "application/json"} if body else {}
        if tenant is not None:
            given["x-api-key"] = secret_of(tenant)
        return await acall(self.app, method, path, body, given | (headers or {}), **more)

    async def close(self):
        for host in self.hosts:
            for name in [*host.declared]:
                await host.drop(name)
            await host.default.close()
