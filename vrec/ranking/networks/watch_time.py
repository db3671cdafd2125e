"""Which head of watch time a setting asks for: fitted on a log, or restored from a model's arrays."""

from collections.abc import Mapping
from typing import Annotated, Any, assert_never

import numpy.typing as npt
from pydantic import Field

from vrec.core.errors import ModelError, RankError
from vrec.ranking.features.arrays import Floats
from vrec.ranking.networks.watch_heads import (
    CreadConfig,
    CreadWatchHead,
    D2qConfig,
    D2qWatchHead,
    RawWatchConfig,
    RawWatchHead,
    WatchHead,
    check_watch_times,
)

WatchConfig = Annotated[CreadConfig | D2qConfig | RawWatchConfig, Field(discriminator="kind")]


def fit_watch_head(config: WatchConfig, watch_s: Floats, duration_s: Floats) -> WatchHead:
    """The head for training impressions: seconds (N,), 0 where not watched, and durations (N,), NaN unknown.

    The rows' order is of no consequence. Raises RankError for seconds or durations that are below 0 or
    infinite, seconds that are NaN, or fewer than two different ones.
    """
    watch, duration = check_watch_times(watch_s, duration_s)
    if len(watch) == 0 or watch.min() == watch.max():
        found = f"all {len(watch):,} impressions have {watch[0]:g} s" if len(watch) else "no impressions"
        raise RankError(
            f"watch_s: {found}: there is nothing to learn", fix="train on a log with watch events"
        )
    match config:
        case CreadConfig():
            return CreadWatchHead.fit(config, watch)
        case D2qConfig():
            return D2qWatchHead.fit(config, watch, duration)
        case RawWatchConfig():
            return RawWatchHead.fit(config, watch)
        case _:
            assert_never(config)


def restore_watch_head(config: WatchConfig, arrays: Mapping[str, npt.NDArray[Any]]) -> WatchHead:
    """The head that had this config and gave these `arrays()`; raises ModelError where one is missing."""
    try:
        match config:
            case CreadConfig():
                return CreadWatchHead(config, arrays["thresholds"], arrays["values"], arrays["scale"])
            case D2qConfig():
                names = ("edges", "starts", "values", "quantiles")
                return D2qWatchHead(config, *(arrays[name] for name in names))
            case RawWatchConfig():
                return RawWatchHead(config, arrays["scale"])
            case _:
                assert_never(config)
    except KeyError as missing:
        raise ModelError(f"the {config.kind} watch head has no array {missing}") from None
