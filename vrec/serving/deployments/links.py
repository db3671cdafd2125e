"""Links of shoppers to accounts in other domains, as one HTTP replica changes and lists them."""

from collections.abc import Callable, Sequence

from vrec.bundle.catalog import BundleCatalog
from vrec.profiles.links import AccountLink, domain_of
from vrec.profiles.stores.codec import EventRow
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply


class LinkOperations:
    """Links in the store of profiles."""

    def __init__(
        self,
        profiles: ProfilesHandle,
        bundle: Callable[[], BundleCatalog | None],
        is_listed: Callable[[str], bool],
        timeout_s: float,
    ) -> None:
        """Build it.

        Args:
            profiles: Handle of the deployment of the store.
            bundle: Function that returns the bundle in service.
            is_listed: Function that tells whether the catalog has a video.
            timeout_s: Seconds that a call may take.
        """
        self._profiles, self._bundle, self._is_listed = profiles, bundle, is_listed
        self._timeout_s = timeout_s

    async def put(self, link: AccountLink) -> tuple[AccountLink, bool]:
        """Make a link hold; see LinksBackend."""
        return await await_reply(self._profiles.link.remote(link), self._timeout_s)

    async def revoke(self, user_id: str, domain: str, at: int) -> AccountLink:
        """Revoke a link; see LinksBackend."""
        return await await_reply(self._profiles.unlink.remote(user_id, domain, at), self._timeout_s)

    async def of(self, user_id: str) -> list[AccountLink]:
        """Return a shopper's links; see LinksBackend."""
        return await await_reply(self._profiles.links_of.remote(user_id), self._timeout_s)

    async def after(self, version: int, limit: int) -> tuple[list[AccountLink], int]:
        """Return the next links of all shoppers; see LinksBackend."""
        return await await_reply(self._profiles.links_after.remote(version, limit), self._timeout_s)

    async def account_of(self, user_id: str, domain: str) -> str | None:
        """Return the account to which a link of the shopper holds; see LinksBackend."""
        held = [link for link in await self.of(user_id) if link.revoked_at is None]
        return next((link.account for link in held if link.other_domain == domain), None)

    def counts(self, domain: str) -> bool:
        """Return whether the bundle has a weight for a domain; see LinksBackend."""
        bundle = self._bundle()
        return bundle is not None and bundle.history_factors.get(domain, 0) > 0

    def unused(self, rows: Sequence[EventRow]) -> int:
        """Return the number of events of other domains that no list can use; see LinksBackend."""
        return sum(not self._is_used(row) for row in rows)

    def _is_used(self, row: EventRow) -> bool:
        _, user_id, video_id, *_ = row
        domain, bundle = domain_of(user_id), self._bundle()
        if domain is None:
            return True
        if bundle is None or not bundle.history_factors.get(domain):
            return False
        return self._is_listed(video_id) or video_id in bundle.known_elsewhere
