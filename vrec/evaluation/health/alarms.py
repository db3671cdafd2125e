"""Alarms over the figures of hours: evidence that adds up while a model is worse than its reference.

Each alarm bets hour by hour that a ratio, such as clicks per predicted click, is beyond what the reference
and the tolerance allow (`vrec.evaluation.sequential`). While it is within, a bet loses on average; the wealth
begins anew whenever it falls below 1 (a CUSUM). Such an e-detector exceeds A after A hours at the earliest on
average, without any assumption about distributions (Shin, Ramdas and Rinaldo 2023, "E-detectors: a
nonparametric framework for sequential change detection"). Hours with few shoppers move the wealth little.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from vrec.evaluation.health.config import ModelHealthConfig
from vrec.evaluation.health.hours import CALIBRATION, COVERAGE, GAUC, MEASURES, HourFigures
from vrec.evaluation.sequential import (
    BETS,
    BetSizes,
    Floats,
    RatioSums,
    UserLimits,
    bet_wealths,
    lower_ends,
    mixed_wealth,
    upper_ends,
)

HOURS_PER_MONTH = 720
REFERENCE_LEVEL = 0.95
"""Level of the reference's interval, whose end nearer to the alarm is what hours are compared with."""
EXPECTED = 500.0
"""Shoppers or blocks after which bets are to pay best; intervals and alarms hold whatever it is."""
SQUARES = {GAUC: 0.1, CALIBRATION: 1.0, COVERAGE: 0.02}
"""Guess of the mean squared deviation per rate of one shopper or block."""
JOINS_BELOW = 0.5
"""Evidence of the strongest alarm above which an hour does not become part of the reference."""


@dataclass(frozen=True, slots=True)
class AlarmKind:
    """Alarm for one way in which a model gets worse."""

    name: str
    measure: str
    too_high: bool
    """Whether it bets that the allowed ratio is too high, so that a low ratio is the alarm."""
    limit: Callable[[float, ModelHealthConfig], float]
    """Function from the end of the reference's interval, the lower one for `too_high`, to the last ratio that
    is allowed."""


KINDS = (
    AlarmKind("order", GAUC, True, lambda low, config: 0.5 + config.skill * (low - 0.5)),
    AlarmKind("clicks_below", CALIBRATION, True, lambda low, config: low / config.calibration),
    AlarmKind("clicks_above", CALIBRATION, False, lambda high, config: high * config.calibration),
    AlarmKind("coverage", COVERAGE, True, lambda low, config: low * config.coverage),
)
"""Order of lists no better than chance, fewer or more clicks than predicted, lists of few videos."""


@dataclass(frozen=True, slots=True)
class AlarmState:
    """Alarm as of the last hour."""

    kind: str
    """Name of one of KINDS."""
    evidence: float
    """Share of the evidence that raises the alarm, from 0 to 1."""
    since: int | None
    """Hours since 1970 of the hour that raised it; None while it is not raised."""
    value: float
    """Ratio of the last hour; NaN without shoppers."""
    limit: float
    """Last ratio that is allowed; NaN without a reference."""


@dataclass(slots=True)
class HealthMemory:
    """Memory of alarms from hour to hour."""

    reference: Mapping[str, RatioSums] = field(default_factory=dict)
    """Sums of the reference's hours; empty before there are enough."""
    reference_hours: int = 0
    bundle: str = ""
    wealth: dict[str, Floats] = field(default_factory=dict)
    """(len(BETS),) log wealth of each bet, at least 0, by alarm."""
    since: dict[str, int] = field(default_factory=dict)
    """Hour that raised each alarm which is raised."""


class HealthAlarms:
    """Alarms of one shop, to which the figures of hours are added in the order of time."""

    def __init__(self, config: ModelHealthConfig, memory: HealthMemory | None = None) -> None:
        """Go on from a memory, or begin."""
        self._config, self.memory = config, memory or HealthMemory()
        self.hours: deque[HourFigures] = deque(maxlen=config.reference_hours)
        """Last hours, the oldest first."""
        self._threshold = math.log(len(KINDS) * HOURS_PER_MONTH / config.false_alarms_per_month)
        self._limits = _limits(self.memory.reference, config)

    def add(self, figures: HourFigures) -> None:
        """Compare an hour with the reference, and remember it."""
        memory, enough = self.memory, self._config.min_reference_hours
        if len(self.hours) >= enough and (not memory.reference or figures.bundle != memory.bundle):
            self._set_reference(_added(*(hour.sums for hour in self.hours)), len(self.hours))
        memory.bundle = figures.bundle
        if memory.reference:
            for kind in KINDS:
                self._bet(kind, figures)
            strongest = max(self._evidence(kind) for kind in KINDS)
            if strongest < JOINS_BELOW and memory.reference_hours < self._config.reference_hours:
                self._set_reference(_added(memory.reference, figures.sums), memory.reference_hours + 1)
        self.hours.append(figures)

    def states(self) -> list[AlarmState]:
        """Return all alarms as of the last hour."""
        last = self.hours[-1].sums if self.hours else {}
        return [
            AlarmState(
                kind.name,
                self._evidence(kind),
                self.memory.since.get(kind.name),
                last[kind.measure].value if last else math.nan,
                self._limit(kind),
            )
            for kind in KINDS
        ]

    def _limit(self, kind: AlarmKind) -> float:
        return self._limits.get(kind.name, math.nan)

    def _set_reference(self, reference: Mapping[str, RatioSums], hours: int) -> None:
        self.memory.reference, self.memory.reference_hours = reference, hours
        self._limits = _limits(reference, self._config)

    def _bet(self, kind: AlarmKind, figures: HourFigures) -> None:
        limit, sums = self._limit(kind), figures.sums[kind.measure]
        before = self.memory.wealth.get(kind.name, np.zeros(len(BETS)))
        if math.isnan(limit) or sums.users == 0:
            return
        sizes = BetSizes(EXPECTED, self._threshold, SQUARES[kind.measure])
        won = bet_wealths(sums, np.array([limit]), sizes, too_high=kind.too_high)[0]
        wealth = np.maximum(before + won, 0)
        # No more than the alarm needs is remembered, so that it ends as soon as it came.
        over = float(mixed_wealth(wealth)) - self._threshold
        self.memory.wealth[kind.name] = np.maximum(wealth - max(over, 0), 0)
        if over >= 0:
            self.memory.since.setdefault(kind.name, figures.hour)
        elif float(mixed_wealth(self.memory.wealth[kind.name])) <= math.log(2):
            self.memory.since.pop(kind.name, None)

    def _evidence(self, kind: AlarmKind) -> float:
        wealth = self.memory.wealth.get(kind.name)
        if wealth is None:
            return 0.0
        return min(max(float(mixed_wealth(wealth)) / self._threshold, 0.0), 1.0)


def _limits(reference: Mapping[str, RatioSums], config: ModelHealthConfig) -> dict[str, float]:
    """Return the last ratio that each alarm allows, for those that the reference supports."""
    budget, limits = math.log(2 / (1 - REFERENCE_LEVEL)), dict[str, float]()
    for kind in KINDS:
        sums = reference.get(kind.measure)
        if sums is None or sums.n <= 0:
            continue
        sizes, evidence = BetSizes(sums.users, budget, SQUARES[kind.measure]), np.array([budget])
        ends = lower_ends if kind.too_high else upper_ends
        end = float(ends(sums, evidence, sizes)[0])
        limit = kind.limit(end, config)
        # An order that may have been chance before cannot get worse.
        if 0 < limit < math.inf and (kind.measure != GAUC or end > 0.5):
            limits[kind.name] = limit
    return limits


def _added(*hours: Mapping[str, RatioSums]) -> dict[str, RatioSums]:
    """Return the sums of several hours together, with the largest of their limits."""
    return {measure: _merged([hour[measure] for hour in hours]) for measure in MEASURES}


def _merged(parts: list[RatioSums]) -> RatioSums:
    names = ("users", "holders", "y", "n", "yy", "yn", "nn")
    limits = UserLimits(
        max(part.limits.outcome for part in parts),
        max(part.limits.trials for part in parts),
        max(part.limits.deficit for part in parts),
    )
    return RatioSums(**{name: sum(getattr(part, name) for part in parts) for name in names}, limits=limits)
