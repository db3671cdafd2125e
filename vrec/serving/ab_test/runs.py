"""Figures of the A/B test that runs, and by day also of those before it."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from vrec.config.serve import ExperimentArmConfig, ExperimentConfig
from vrec.events.links import without_accounts
from vrec.profiles.stores.fold import VideoLookup
from vrec.serving.ab_test.start import ExperimentStart
from vrec.serving.arm_days import ArmDay
from vrec.serving.experiments import ArmCounts, ArmStatistics


class ExperimentRuns:
    """Counts of the A/B test that runs and of those before it, each of the events dated within its time.

    The same events in the order of the log give the same figures. What follows an impression after the end of
    its A/B test counts for none.
    """

    def __init__(self, config: ExperimentConfig, start: ExperimentStart, facts: VideoLookup) -> None:
        """Build the counts without events.

        Args:
            config: The A/B test that runs.
            start: Its start, and those of the ones before.
            facts: Lookup of the catalog's data of videos.
        """
        self.start = start
        """Start of the A/B test that runs."""
        self._counts = [
            ArmCounts(one, facts=facts, since=begun.since)
            for begun in start.earlier
            if (one := _earlier_config(config, begun)) is not None
        ]
        self._since = [begun.since for begun in start.earlier if _earlier_config(config, begun) is not None]
        self._counts.append(ArmCounts(config, facts=facts, since=start.since))
        self._since.append(start.since)

    @property
    def first_cursor(self) -> int:
        """Cursor of the store behind which all events are to be added."""
        return min(one.cursor for one in (*self.start.earlier, self.start))

    def add(self, events: pa.Table) -> None:
        """Count EVENTS in the order of the log, each added once; see ArmCounts.

        Those of accounts in other domains are left out.
        """
        events = without_accounts(events)
        if len(self._counts) == 1 or not events.num_rows:
            self._counts[-1].add(events)
            return
        at = events.column("at").cast(pa.int64()).to_numpy()
        place = np.searchsorted(np.array(self._since), at, side="right") - 1
        for number, counts in enumerate(self._counts):
            own = place == number
            if own.all():
                counts.add(events)
            elif own.any():
                counts.add(events.filter(pa.array(own)))

    def snapshot(self, *, complete: bool) -> ArmStatistics:
        """Return the figures of the A/B test that runs; see ArmCounts."""
        return self._counts[-1].snapshot(complete=complete)

    def days(self, most: int) -> list[int]:
        """Return the last `most` days with events, ascending, in days since 1970."""
        return sorted({day for counts in self._counts for day in counts.days.days(most)})[-most:]

    def figures(self, day: int) -> list[ArmDay]:
        """Return the figures of a day for each arm of each A/B test with events on it, the earlier first."""
        return [
            replace(one, since=since)
            for counts, since in zip(self._counts, self._since, strict=True)
            if counts.days.has(day)
            for one in counts.days.figures(day)
        ]


def _earlier_config(config: ExperimentConfig, begun: ExperimentStart) -> ExperimentConfig | None:
    """Return the A/B test of an earlier start; None if it is not recorded whole."""
    try:
        arms = tuple(ExperimentArmConfig.model_validate(dict(arm)) for arm in begun.arms)
    except (ValidationError, ValueError, TypeError):
        return None
    return config.model_copy(update={"salt": begun.salt, "arms": arms}) if arms else None
