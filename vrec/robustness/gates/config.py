"""Settings of data gates."""

from typing import Literal

from pydantic import Field

from vrec.core.config import BaseConfig

GatePolicy = Literal["stop", "cut", "warn", "skip"]
"""Handling of faults before a fit or a bundle."""


class GatesConfig(BaseConfig):
    """Settings of the checks of `vrec check`, which also run before fits and bundles."""

    policy: GatePolicy = "warn"
    """Handling of faults before a fit or a bundle: `stop` ends the command with the report, `cut` leaves the
    bad hours and rows out and counts them in the manifest, `warn` prints them only, `skip` checks nothing."""
    against: str | None = None
    """Path or URI of good days: a model's folder, or a file that `vrec check --save` wrote. By default those
    of the model that the fit replaces, if there is one."""
    alpha: float = Field(default=0.05, gt=0, lt=1)
    """Probability of any false alarm of a report's tests of drift (Holm 1979)."""
    cut_most: float = Field(default=0.2, gt=0, le=1)
    """Share of the events above which `cut` stops in the place of cutting."""
    unknown_most: float = Field(default=0.2, ge=0, le=1)
    """Share of events of videos that VIDEOS lacks above which the newest days are at fault, and earlier days
    and hours if it is lower before: old events may be of videos that were removed."""
    watch_most: float = Field(default=5.0, gt=1)
    """Multiple of a video's duration that a watch may last."""
    watch_longest_s: float = Field(default=14_400.0, gt=0)
    """Seconds that a watch may last where the duration of the video is unknown."""
    psi: float = Field(default=0.2, gt=0)
    """Population stability index of a day from which a significant change counts."""
    odds: float = Field(default=1.6, gt=1)
    """Factor of a rate's odds from which a day's significant fall counts; rises of rates that a sale lifts
    count from its cube."""
    fresh_hours: float | None = Field(default=None, gt=0)
    """Hours that the newest event may be old; by default any."""
    days: int = Field(default=28, ge=1)
    """Most days of a saved profile, the newest."""
