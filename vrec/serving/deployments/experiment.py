"""A/B test of the shop, as one HTTP replica follows and changes it."""

import time
from collections.abc import Sequence

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.serving.ab_test.log import (
    EXPERIMENT_LOG,
    ExperimentChange,
    ExperimentChanged,
    PresentExperiment,
    assignment_digest,
    pack_experiment,
    present_experiment,
)
from vrec.serving.deployments.handles import ProfilesHandle
from vrec.serving.deployments.replies import await_reply
from vrec.serving.experiments import assign_arm


class ExperimentOperations:
    """A/B test in force: that of the settings, or the last change in the store, whichever is later."""

    def __init__(self, profiles: ProfilesHandle, settings: ExperimentConfig, timeout_s: float) -> None:
        """Build it over the deployment of the store, the settings, and the seconds that a call may take."""
        self._profiles, self._timeout_s = profiles, timeout_s
        self._settings, self._last = settings, list[tuple[int, bytes]]()
        self._present, self._is_read = PresentExperiment(settings), False

    @property
    def config(self) -> ExperimentConfig:
        """See ExperimentBackend."""
        return self._present.config

    def arm_of(self, user_id: str) -> ExperimentArmConfig:
        """See ExperimentBackend."""
        return assign_arm(user_id, self.config)

    @property
    def settings(self) -> ExperimentConfig:
        """A/B test of the settings."""
        return self._settings

    @settings.setter
    def settings(self, settings: ExperimentConfig) -> None:
        self._settings = settings
        self._present = present_experiment(settings, self._last)

    async def present(self) -> PresentExperiment:
        """See ExperimentBackend."""
        return await self.follow()

    async def follow(self) -> PresentExperiment:
        """Read the last change that was durable before the call, and return the A/B test in force."""
        call = self._profiles.records_before.remote(EXPERIMENT_LOG, None, 1)
        found = await await_reply(call, self._timeout_s)
        # Another call may have read a later one meanwhile.
        if not self._last or (found and found[-1][0] >= self._last[-1][0]):
            self._last = list(found)
            self._present = present_experiment(self._settings, found)
        self._is_read = True
        return self._present

    async def catch_up(self, last: int | None) -> None:
        """Read the log unless it ends with a number that is known; None if its end is not known."""
        if last is None or not self._is_read or last != (self._last[-1][0] if self._last else 0):
            await self.follow()

    async def change(
        self,
        salt: str,
        arms: Sequence[ExperimentArmConfig],
        expected: str | None,
        *,
        by: str | None,
        request_id: str,
    ) -> PresentExperiment:
        """See ExperimentBackend."""
        before = await self.follow()
        if expected not in (None, before.version):
            raise _conflict(before)
        wanted = self._settings.model_copy(update={"salt": salt, "arms": tuple(arms)})
        if assignment_digest(wanted) == assignment_digest(before.config):
            return before
        now, settings = time.time_ns() // 1000, assignment_digest(self._settings)
        change = ExperimentChange(settings, salt, tuple(arms), by, now, request_id)
        call = self._profiles.append_record.remote(
            EXPERIMENT_LOG, pack_experiment(change), before.number, None
        )
        if await await_reply(call, self._timeout_s) is None:
            raise _conflict(await self.follow())
        return await self.follow()


def _conflict(present: PresentExperiment) -> ExperimentChanged:
    by = "" if present.change is None or present.change.by is None else f" by {present.change.by}"
    return ExperimentChanged(f"the A/B test has been changed{by}: it is in version {present.version}")
