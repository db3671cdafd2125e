"""Consents of shoppers, as one HTTP replica changes and lists them."""

from collections.abc import Mapping

from vrec.config.serve import ServeConfig
from vrec.privacy.consent.table import Answers, ConsentAnswer, Purpose
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply


class ConsentOperations:
    """Consents in the store of profiles; see ConsentsBackend."""

    def __init__(self, profiles: ProfilesHandle, config: ServeConfig) -> None:
        """Build it over the handle of the deployment of the store and the settings."""
        self._profiles, self._timeout_s = profiles, config.apply_timeout_s
        self.default = config.consent.is_given
        """Consent of a shopper who has not answered."""

    async def of(self, user_id: str) -> Mapping[Purpose, ConsentAnswer]:
        """Return a shopper's answers; see ConsentsBackend."""
        return await await_reply(self._profiles.consents.remote(user_id), self._timeout_s)

    async def put(self, user_id: str, answers: Answers) -> Mapping[Purpose, ConsentAnswer]:
        """Put a shopper's answers; see ConsentsBackend."""
        return await await_reply(self._profiles.put_consents.remote(user_id, answers), self._timeout_s)

    async def after(
        self, version: int, limit: int
    ) -> tuple[list[tuple[str, dict[Purpose, ConsentAnswer]]], int]:
        """Return the next shoppers' answers; see ConsentsBackend."""
        return await await_reply(self._profiles.consents_after.remote(version, limit), self._timeout_s)
