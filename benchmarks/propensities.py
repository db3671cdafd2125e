"""Stated propensities against frequencies: one shopper's moment, answered under many request ids.

Each setting asks the engine for a list under thousands of request ids while nothing else changes. A slot's
frequencies are compared with its stated propensities among the requests with the same slots before it: by an
exact binomial test of each video, those expected less than ten times taken together, and by Pearson's
chi-square over all. Propensities that are stated twice must be equal. P-values are times the number of
comparisons of the setting (Bonferroni). Candidates and the list are made anew for each request; predictions
for the same candidates and propensities of the same scores are computed once.

    OMP_NUM_THREADS=1 python benchmarks/propensities.py [--requests 50000] [--only TEXT …]

Run it with `--drawn` to see what the check says of candidates that are drawn for each request, as vrec did
before.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import numpy as np
from recommend import NOW, bundle_of, shopper
from scipy.stats import binom, chi2

from vrec.config.serve import ServeConfig
from vrec.profiles.profile import Profile
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.reranking import exploration
from vrec.serving.messages import RecommendQuery
from vrec.serving.recommend import candidates, predictions
from vrec.serving.recommend import engine as engine_module
from vrec.serving.recommend.engine import RecommendEngine

LEAST_EXPECTED = 10.0
"""Expected count below which videos are taken together."""
STATED_ERROR = 2e-6
"""Error of a stated propensity: of its quadrature, and of float32."""
LEAST_REQUESTS = 200
"""Requests with the same first slots from which the next slot is compared."""
CANDIDATES = {"most": 40, "content": 14, "popular": 8, "new": 8}
"""Fewer than by default, so that a request takes a few milliseconds; the shares are the same."""
SIZES = {"below": 30, "above": 2_000}
"""Videos of the catalog: fewer and more than `candidates.most`."""
EXPLORATIONS: dict[str, dict[str, Any]] = {
    "off": {"scale": 0.0},
    "Thompson": {"scale": 1.0},
    "×10": {"scale": 10.0},
    "×10, slot 0": {"scale": 10.0, "slots": [0]},
    "×30, slots 1 and 3": {"scale": 30.0, "slots": [1, 3]},
}


@dataclass
class SlotTally:
    """Requests with the same slots before, by the video in the next slot."""

    counts: Counter[str] = field(default_factory=Counter)
    stated: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PropensityReport:
    """Comparison of the propensities of one setting with frequencies."""

    requests: int
    lists: int
    """Different lists."""
    comparisons: int
    least_p: float
    """Least p-value times the number of comparisons, at most 1."""
    widest: float
    """Largest difference of a frequency and its propensity among the comparisons."""
    contradictions: int
    """Propensities stated differently for the same video after the same slots."""
    impossible: int
    """Comparisons where the stated propensities leave no room for what was shown: their sum exceeds 1."""

    @property
    def holds(self) -> bool:
        """True if frequencies are as stated, at a level of 1 % for the whole setting."""
        return self.least_p > 0.01 and not self.contradictions and not self.impossible


def compare(answers: Sequence[Sequence[tuple[str, float]]]) -> PropensityReport:
    """Compare the (video, propensity) pairs of lists, by slot, that only their request ids tell apart."""
    tallies: defaultdict[tuple[str, ...], SlotTally] = defaultdict(SlotTally)
    contradictions = 0
    for items in answers:
        for slot, (video, stated) in enumerate(items):
            tally = tallies[tuple(name for name, _ in items[:slot])]
            tally.counts[video] += 1
            contradictions += tally.stated.setdefault(video, stated) != stated
    results = [_compare_slot(one) for one in tallies.values() if one.counts.total() >= LEAST_REQUESTS]
    p_values = [p for values, _, _ in results for p in values]
    return PropensityReport(
        requests=len(answers),
        lists=len({tuple(name for name, _ in items) for items in answers}),
        comparisons=len(p_values),
        least_p=min(1.0, len(p_values) * min(p_values)),
        widest=max(widest for _, widest, _ in results),
        contradictions=contradictions,
        impossible=sum(total > 1 + 1e-4 for _, _, total in results),
    )


def _compare_slot(tally: SlotTally) -> tuple[list[float], float, float]:
    """Return the p-values, the largest difference, and the sum of the stated propensities."""
    count, names = tally.counts.total(), list(tally.counts)
    seen = np.array([tally.counts[name] for name in names], np.float64)
    stated = np.array([tally.stated[name] for name in names])
    common = stated * count >= LEAST_EXPECTED
    # Videos that were never shown are among the rare ones, which have what the common ones leave.
    rest = max(0.0, 1.0 - float(stated[common].sum()))
    seen, chances = np.append(seen[common], seen[~common].sum()), np.append(stated[common], rest)
    low = binom.cdf(seen, count, np.maximum(chances - STATED_ERROR, 0.0))
    high = binom.sf(seen - 1, count, np.minimum(chances + STATED_ERROR, 1.0))
    values: list[float] = np.minimum(1.0, 2 * np.minimum(low, high)).tolist()
    cells = chances * count >= LEAST_EXPECTED
    if np.count_nonzero(cells) > 1:
        expected = chances[cells] * count
        values.append(float(chi2.sf(((seen[cells] - expected) ** 2 / expected).sum(), len(expected) - 1)))
    return values, float(np.abs(seen / count - chances).max()), float(stated.sum())


def answers_of(
    engine: RecommendEngine, query: RecommendQuery, user: Profile, requests: int
) -> list[list[tuple[str, float]]]:
    """Return the (video, propensity) pairs of the lists of `requests` request ids."""
    predict = _cached(predictions.predict, lambda chosen, *_: (chosen.rows.tobytes(), *chosen.sources))
    chance = _cached(exploration.win_chance, lambda *args: tuple(_hashable(one) for one in args[:3]))
    with (
        patch.object(engine_module, "predict", predict),
        patch.object(exploration, "win_chance", chance),
    ):
        found = (engine.recommend(replace(query, request_id=f"r{n}"), user) for n in range(requests))
        return [[(item.video_id, item.propensity) for item in answer.items] for answer in found]


def _cached(function: Callable[..., Any], key_of: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the results kept by a key of its positional arguments."""
    results: dict[Any, Any] = {}

    def call(*args: Any, **named: Any) -> Any:
        key = key_of(*args)
        if key not in results:
            results[key] = function(*args, **named)
        return results[key]

    return call


def _hashable(value: Any) -> Any:
    return value.tobytes() if isinstance(value, np.ndarray) else value


def settings() -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield name, catalog size and serve settings of each setting."""
    for size, videos in SIZES.items():
        for name, explored in EXPLORATIONS.items():
            diversity = "off" if name == "×10" else "dpp"
            rerank = {"default": {"diversity": {"kind": diversity}, "exploration": explored}}
            title = f"{size} | {videos:,} | {diversity} | {name}"
            yield title, videos, {"candidates": CANDIDATES, "rerank": rerank}


def drawn_anew(query: RecommendQuery, rotation_minutes: int) -> np.random.Generator:
    """Return random numbers that differ between requests."""
    return np.random.default_rng()


def main() -> None:
    parser = argparse.ArgumentParser(description="Stated propensities against frequencies.")
    parser.add_argument("--requests", type=int, default=50_000)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--only", nargs="*", default=[""], help="settings whose line has one of these texts")
    parser.add_argument("--drawn", action="store_true", help="draw the candidates of each request")
    given = parser.parse_args()
    print(
        "| catalog | videos | diversity | exploration | shopper | lists | comparisons | widest | p | holds |"
    )
    print("|---|---:|---|---|---|---:|---:|---:|---:|---|")
    for title, videos, values in settings():
        rng = np.random.default_rng(videos)
        bundle, vectors = bundle_of(videos, rng)
        ids = list(bundle.neighbors.ids)
        engine = RecommendEngine(bundle, ServeConfig.model_validate(values))
        counts = rng.integers(0, 50, (len(ids), len(VIDEO_COUNT_KEYS))).astype(float)
        engine.set_video_counts(ids, counts)
        users = {"known": shopper("u", ids, vectors, rng), "cold": Profile("user", "new")}
        for kind, user in users.items():
            line = f"| {title} | {kind} |"
            if not any(text in line for text in given.only):
                continue
            query = RecommendQuery("r", user.entity_id, "feed", given.slots, NOW)
            with patch.object(candidates, "candidate_rng", drawn_anew) if given.drawn else patch.dict({}):
                report = compare(answers_of(engine, query, user, given.requests))
            figures = (
                f"{report.lists:,} | {report.comparisons:,} | {report.widest:.4f} | {report.least_p:.3f}"
            )
            print(f"{line} {figures} | {'holds' if report.holds else 'fails'} |", flush=True)


if __name__ == "__main__":
    main()
