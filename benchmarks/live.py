"""Live streams, replayed in time: which of those that are live does a shopper watch next?

    python benchmarks/live.py [--seeds 0 1 2] [--views 3000]
    python benchmarks/live.py --dataset liverec --path FOLDER
    python benchmarks/live.py --dataset kuailive --path FOLDER

Without a data set, streams are simulated (`vrec.synthetic.live`), one world per seed. The model is fitted on
all but the last days, and views of these are ranked among the streams that were live when they began, with
all that was known then. Prints means over shoppers of HR@1, HR@10 and NDCG@10, apart for views of streamers
whom the shopper had watched before (repeat) and others (new), and paired differences of `live` with 95 %
intervals; and how well it predicts whether, and for how long, a shopper stays.

The half-life of `recent repeats` is the best of several on views of the day before the last days. For
simulated streams it prints also the gain of embedding content as it changes, by views of streams that had
turned to another category: the model without attention, fitted and scored with each stream's first vector.
"""

import argparse
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, spearmanr

from vrec.evaluation.live import (
    METRICS,
    Booleans,
    LiveRanks,
    differences,
    mean_of_users,
    most_watched,
    popular_now,
    recent_repeats,
    replay_ranks,
)
from vrec.events.live_datasets import LIVE_DATASETS
from vrec.retrieval.live.config import LiveConfig
from vrec.retrieval.live.log import DAY_US, SECOND_US, Indices, LiveLog
from vrec.retrieval.live.model import LiveRecommender
from vrec.retrieval.live.replay import LiveReplay
from vrec.synthetic.live.config import LiveSimulationConfig
from vrec.synthetic.live.simulate import simulate_live

HALF_LIVES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 1000.0)
"""Half-lives tried for recency-weighted repeats, in days."""


@dataclass(frozen=True)
class World:
    """A log, and the views of it that models are scored by."""

    name: str
    log: LiveLog
    cut: int
    """Time from which views are scored, µs since 1970."""
    turned: Booleans | None
    """(V,) whether a view's stream had turned to another category; None where that is unknown."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--views", type=int, default=3000, help="views that are scored, drawn at random")
    parser.add_argument("--days", type=float, default=5.0, help="last days, whose views are scored")
    parser.add_argument("--dataset", choices=sorted(LIVE_DATASETS))
    parser.add_argument("--path", help="folder of the data set")
    arguments = parser.parse_args()
    for world in worlds(arguments):
        run(world, arguments.views)


def worlds(arguments: argparse.Namespace) -> Iterator[World]:
    """Yield the data set, or one simulated world per seed."""
    if arguments.dataset is not None:
        found = LIVE_DATASETS[arguments.dataset](arguments.path)
        log = LiveLog.from_tables(found.events, found.streams)
        cut = int(log.view_start.max() - arguments.days * DAY_US)
        yield World(f"{found.name} ({found.note})", log, cut, None)
        return
    for seed in arguments.seeds:
        config = LiveSimulationConfig(seed=seed)
        drawn = simulate_live(config)
        log = LiveLog.from_tables(drawn.events, drawn.streams, drawn.vectors)
        begin = round(config.start.timestamp() * 1e6)
        streams = log.streams.find(drawn.truth.stream_ids)
        half = np.empty(len(log.streams))
        half[streams] = drawn.truth.turn + config.drift_s / 2
        turned = (log.view_start - begin) / SECOND_US >= half[log.view_stream]
        cut = int(begin + (config.days - arguments.days) * DAY_US)
        yield World(f"simulated, seed {seed}", log, cut, turned)


def run(world: World, most: int) -> None:
    """Fit and score the models of one world, and print what came out."""
    log, cut = world.log, world.cut
    views = drawn_views(log, cut, int(log.view_start.max()) + 1, most)
    config = LiveConfig()
    model = LiveRecommender(config).fit(log.until(cut))
    half_life = best_half_life(log, cut, config)
    features_alone = copy(model)
    features_alone.attention = None
    scorers = {
        "live": model.score,
        "live without attention": features_alone.score,
        "popular now": popular_now,
        "most watched": most_watched,
        "recent repeats": recent_repeats(half_life),
    }
    ranks = replay_ranks(
        log, views, scorers, early_leave_s=config.early_leave_s, max_history=config.max_history
    )
    print(f"\n## {world.name}")
    print(
        f"{len(ranks.view):,} views, {ranks.skipped:,} skipped, {ranks.is_repeat.mean():.0%} repeats, "
        f"{ranks.live.mean():.0f} live streams, half-life of repeats {half_life:g} days"
    )
    for part, kept in (("all", ranks.live > 0), ("repeat", ranks.is_repeat), ("new", ~ranks.is_repeat)):
        print_part(part, ranks, kept)
    if model.attention is None:
        print("attention was no better on the newest views of the fit, and is not used")
    run_watch_time(world, model, ranks.view[:: max(1, len(ranks.view) // 2000)])
    if world.turned is not None:
        run_drift(world, features_alone)


def best_half_life(log: LiveLog, cut: int, config: LiveConfig) -> float:
    """Return the half-life of recency-weighted repeats with the best NDCG@10 on the day before a time."""
    views = drawn_views(log, cut - DAY_US, cut, 1500)
    scorers = {f"{days}": recent_repeats(days) for days in HALF_LIVES}
    found = replay_ranks(
        log, views, scorers, early_leave_s=config.early_leave_s, max_history=config.max_history
    )
    everything = found.live > 0
    return max(HALF_LIVES, key=lambda days: mean_of_users(found.ranks[f"{days}"], found.user, everything)[2])


def run_watch_time(world: World, model: LiveRecommender, views: Indices) -> None:
    """Print how well watch time is predicted, beside the mean of the shopper with the streamer, or of all."""
    log, config = world.log, model.config
    replay = LiveReplay(log, config.early_leave_s)
    rows: list[tuple[float, float, float, float]] = []
    for row in views.tolist():
        replay.advance(int(log.view_start[row]))
        now = replay.now(log.view_stream[[row]])
        history = replay.views(int(log.view_user[row]), config.max_history)
        features = model.features(log, history, now)
        own = history.seconds[history.streamer == now.streamer[0]]
        usual = 60 * np.expm1(np.log1p(own / 60).mean() if len(own) else now.log_minutes[0])
        stay, seconds = (
            float(predict(features)[0])
            for predict in (model.watch_time.stay_probability, model.watch_time.expected_seconds)
        )
        rows.append((stay, seconds, float(usual), float(now.stay_rate[0])))
    stay, seconds, usual, rate = np.array(rows).T
    actual = log.view_seconds[views]
    print(f"\nwatch time, {len(views):,} views, {(actual < config.early_leave_s).mean():.0%} left early")
    stayed = actual >= config.early_leave_s
    if not stayed.all():
        print(f"AUC of staying {auc(stay, stayed):.3f}, by the streamer's rate {auc(rate, stayed):.3f}")
    print(f"rank correlation with the seconds {spearmanr(seconds, actual).statistic:.3f}", end=", ")
    print(f"by the usual length {spearmanr(usual, actual).statistic:.3f}", flush=True)


def auc(scores: npt.NDArray[np.float64], outcomes: Booleans) -> float:
    """Return the probability that a positive has a greater score than a negative; ties count half."""
    ranks, positives = rankdata(scores), int(outcomes.sum())
    above = ranks[outcomes].sum() - positives * (positives + 1) / 2
    return float(above / (positives * (len(scores) - positives)))


def run_drift(world: World, model: LiveRecommender) -> None:
    """Print the gain of embedding content again, by views of streams that had turned to another category.

    Both models are without attention, so that the difference is that of the content.
    """
    assert world.turned is not None
    log, config = world.log, model.config.model_copy(update={"attention": None})
    views = np.flatnonzero((log.view_start >= world.cut) & world.turned)
    frozen = LiveRecommender(config).fit(log.until(world.cut), drifting=False)
    options = {"early_leave_s": config.early_leave_s, "max_history": config.max_history}
    now = replay_ranks(log, views, {"live": model.score}, **options)
    first = replay_ranks(log, views, {"first vector only": frozen.score}, **options, drifting=False)
    ranks = LiveRanks(now.view, now.user, now.is_repeat, now.live, {**now.ranks, **first.ranks}, now.skipped)
    for part, kept in (("turned", ranks.live > 0), ("turned, new", ~ranks.is_repeat)):
        print_part(part, ranks, kept)


def drawn_views(log: LiveLog, start: int, end: int, most: int) -> Indices:
    """Return random views that began within a time, ascending."""
    rows = np.flatnonzero((log.view_start >= start) & (log.view_start < end))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(1).choice(rows, most, replace=False))
    return rows


def print_part(part: str, ranks: LiveRanks, kept: Booleans) -> None:
    """Print each model's metrics on some views, and the paired difference of `live` from it."""
    if not kept.any():
        return
    shoppers = len(np.unique(ranks.user[kept]))
    print(f"\n{part}: {int(kept.sum()):,} views, {shoppers:,} shoppers")
    print("| | " + " | ".join(METRICS) + " | " + " | ".join(f"live − it, {name}" for name in METRICS) + " |")
    print("|---" * (1 + 2 * len(METRICS)) + "|")
    for name, values in ranks.ranks.items():
        cells = [f"{mean:.3f}" for mean in mean_of_users(values, ranks.user, kept)]
        if name == "live":
            cells += [""] * len(METRICS)
        else:
            gained, intervals = differences(ranks.ranks["live"], values, ranks.user, kept)
            cells += [
                f"{gain:+.3f}" + ("" if np.isnan(low) else f" [{low:+.3f}, {high:+.3f}]")
                for gain, low, high in zip(gained, intervals.low, intervals.high, strict=True)
            ]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
