"""Trade-off of clicks and variety of reranked lists, and the time of a request.

On simulated shops each shopper's list of ten is made from 300 candidates, by a ranker that knows the true
log-odds of a click but for Normal noise. For MMR and DPP over a grid of trade-offs it prints, as means over
shops: the clicks that truly follow, position bias counted in, against those of the order by worth alone, with
a 95 % interval of the difference; the mean distance 1 − cosine between the videos of a list; the categories
in a list; and the share of the catalogue that is in anybody's list. Then the time of one request.

    python benchmarks/rerank.py [--shops 5] [--users 200] [--curve FILE.svg]
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from harness import number_parser
from scipy.special import expit
from scipy.stats import t

from vrec.core.types import CatalogContent
from vrec.ranking.reranking.catalog import CatalogArrays, ShopperContext
from vrec.ranking.reranking.rerank import RerankConfig, RerankedList, rerank
from vrec.synthetic.shop.simulate import ShopSimulation, SimulationConfig, simulate

SHOP = SimulationConfig(users=500, videos=500, requests_per_user=1, slots=10, cold_share=0.0)
CANDIDATES, K, NOISE = 300, 10, 0.5
SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
FIGURES = ("clicks", "distance", "categories", "coverage")
DAY_US = 86_400_000_000

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Case:
    """Shop, and a ranker's scores of each shopper's candidates."""

    simulation: ShopSimulation
    shelf: CatalogArrays
    at: int
    users: Places
    candidates: Sequence[Places]
    ranked: Sequence[pa.Table]

    @classmethod
    def of(cls, config: SimulationConfig, users: int) -> "Case":
        simulation = simulate(config)
        shop, rng = simulation.shop, np.random.default_rng([config.seed, 9])
        chosen = rng.choice(config.users, users, replace=False)
        logits = shop.base_log_odds + shop.affinity(chosen, np.arange(config.videos), paired=False)
        guessed = logits + NOISE * rng.normal(size=logits.shape)
        candidates = [np.argsort(-row, kind="stable")[:CANDIDATES] for row in guessed]
        names = simulation.videos.column("video_id")
        ranked = [
            _ranked(names.take(pa.array(places)), expit(row[places]))
            for places, row in zip(candidates, guessed, strict=True)
        ]
        at = round(config.start.timestamp() * 1e6) + config.days * DAY_US
        shelf = CatalogArrays.from_content(CatalogContent(simulation.videos, simulation.embeddings))
        return cls(simulation, shelf, at, chosen, candidates, ranked)

    def rerank(self, user: int, config: RerankConfig, shopper: ShopperContext, seed: int = 0) -> RerankedList:
        """Return one shopper's list."""
        return rerank(
            self.ranked[user],
            np.full(CANDIDATES, NOISE, np.float32),
            self.shelf,
            shopper,
            config,
            surface="feed",
            at=self.at,
            k=K,
            rng=np.random.default_rng([seed, user]),
        )

    def figures(self, config: RerankConfig) -> Floats:
        """Return (4,) FIGURES of all shoppers' lists."""
        shop, per_user, shown = self.simulation.shop, [], set()
        for user, place in enumerate(self.users):
            found = self.rerank(user, config, ShopperContext())
            videos = shop.video_indices(found.table.column("video_id"))
            slots = np.arange(len(videos))
            clicks = shop.click_probability(np.full(len(videos), place), videos, slots).sum()
            vectors = self.shelf.vectors[videos].astype(np.float64)
            distance = 1 - (vectors @ vectors.T)[np.triu_indices(len(videos), 1)].mean()
            per_user.append((clicks, distance, len(set(self.shelf.category[videos].tolist()))))
            shown.update(videos.tolist())
        return np.array([*np.mean(per_user, axis=0), len(shown) / shop.config.videos])


def _ranked(names: pa.ChunkedArray, p_click: Floats) -> pa.Table:
    n, chances = len(names), pa.array(p_click, pa.float32())
    nothing = pa.array(np.zeros(n, np.float32))
    return pa.table(
        {
            "user_id": pa.repeat("shopper", n),
            "video_id": names,
            "score": chances,
            "rank": pa.array(np.arange(1, n + 1), pa.int32()),
            "source": pa.repeat("item_knn", n),
            "p_click": chances,
            "watch_s": nothing,
            "p_conv": nothing,
            "utility": nothing,
            "reasons": pa.array([[]] * n, pa.list_(pa.string())),
        }
    )


def config_of(diversity: dict[str, Any], **default: Any) -> RerankConfig:
    """Return a configuration of this variety by clicks, without caps."""
    clicks = {"click": 1.0, "minute": 0.0, "price_share": 0.0, "unpriced": 0.0}
    lists = {"diversity": diversity, "caps": {"creator": None}} | default
    return RerankConfig.model_validate({"utility": {"default": clicks}, "default": lists})


def curves(shops: int, users: int) -> dict[tuple[str, float], Floats]:
    """Return (shops, 4) FIGURES by kind of variety and share of relevance."""
    cases = [Case.of(SHOP.model_copy(update={"seed": seed}), users) for seed in range(shops)]
    return {
        (kind, share): np.stack(
            [case.figures(config_of({"kind": kind, "relevance": share})) for case in cases]
        )
        for kind in ("mmr", "dpp")
        for share in SHARES
    }


def print_curves(found: dict[tuple[str, float], Floats]) -> None:
    """Print a row per trade-off."""
    print(f"{'':10}{'clicks at 10':>13}{'against 1.0':>26}{'distance':>10}{'categories':>12}{'coverage':>10}")
    for (kind, share), figures in found.items():
        clicks, distance, categories, coverage = figures.mean(axis=0)
        change = figures[:, 0] / found[kind, 1.0][:, 0] - 1
        reach = t.ppf(0.975, max(1, len(change) - 1)) * change.std(ddof=len(change) > 1) / len(change) ** 0.5
        low, high = change.mean() - reach, change.mean() + reach
        told = f"{change.mean():+.1%} [{low:+.1%}, {high:+.1%}]"
        print(
            f"{kind} {share:<6}{clicks:>13.3f}{told:>26}{distance:>10.3f}{categories:>12.2f}{coverage:>10.1%}"
        )


def draw_curves(found: dict[tuple[str, float], Floats], path: str) -> None:
    """Draw clicks against distance, a line per kind, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for kind in ("mmr", "dpp"):
        points = np.stack([found[kind, share].mean(axis=0) for share in SHARES])
        axes.plot(points[:, 1], points[:, 0], marker="o", label=kind.upper())
        for share, point in zip(SHARES, points, strict=True):
            if share > 0.5:
                continue  # These lie so close that their figures would cover each other.
            axes.annotate(f"{share:g}", (point[1], point[0]), textcoords="offset points", xytext=(4, 4))
    axes.set_xlabel("mean distance within a list (1 − cosine)")
    axes.set_ylabel(f"expected true clicks at {K}")
    axes.legend()
    figure.savefig(path)


def print_times(rounds: int) -> None:
    """Print milliseconds per request of each kind, in interleaved rounds, CPU and wall-clock time."""
    case = Case.of(SHOP, 20)
    watched = case.shelf.video_ids[:50]
    shopper = ShopperContext(history={name: case.at - DAY_US * n for n, name in enumerate(watched)}, age=30)
    tried = {"exploration": {"scale": 1.0}}
    kinds = {
        "by worth": config_of({"kind": "off"}),
        "mmr": config_of({"kind": "mmr"}),
        "dpp": config_of({"kind": "dpp"}),
        "by worth, tried out": config_of({"kind": "off"}, **tried),
        "mmr, tried out": config_of({"kind": "mmr"}, **tried),
        "dpp, tried out": config_of({"kind": "dpp"}, **tried),
    }
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in kinds}
    for seed in range(rounds):
        for name, config in kinds.items():
            begin = time.process_time(), time.perf_counter()
            case.rerank(seed % len(case.users), config, shopper, seed)
            spent[name].append((time.process_time() - begin[0], time.perf_counter() - begin[1]))
    print(f"{'ms a request':22}{'CPU p50':>10}{'CPU p99':>10}{'wall p50':>10}{'wall p99':>10}")
    for name, times in spent.items():
        p50, p99 = np.percentile(1e3 * np.array(times), (50, 99), axis=0)
        print(f"{name:22}{p50[0]:>10.2f}{p99[0]:>10.2f}{p50[1]:>10.2f}{p99[1]:>10.2f}")


def main() -> None:
    parser = number_parser(__doc__, shops=5, users=200, rounds=300)
    parser.add_argument("--curve", metavar="FILE.svg")
    options = parser.parse_args()
    print(f"{options.shops} shops, {options.users} shoppers each, {CANDIDATES} candidates, noise {NOISE}")
    found = curves(options.shops, options.users)
    print_curves(found)
    if options.curve:
        draw_curves(found, options.curve)
    print_times(options.rounds)


if __name__ == "__main__":
    main()
