"""Recommenders on videos that nobody has watched: simulated shops with some videos withheld.

    python benchmarks/cold_shop.py [--shops 5] [--users 2000] [--first 10]

Each seed is another shop of 500 videos with content vectors, tags, categories and creators. The log is cut in
time at 80 %, and all interactions with a fifth of the videos are taken out of its first part. Test users have
watched something before the cut. NDCG@10 is that of lists of the whole catalogue, over all test users, then
over those who went on to a withheld video, counting these alone, and then of lists of the withheld videos
alone. Prints the mean over the shops with a 95 % t interval, and the paired difference of `multimodal` from
each model. All settings are defaults.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from harness import number_parser
from scipy import stats

from vrec.core.compute import pc
from vrec.core.types import CatalogContent
from vrec.evaluation.offline.config import EvaluationConfig
from vrec.evaluation.offline.run import evaluate_recommendations
from vrec.events.config import InterestConfig, TimeSplitConfig
from vrec.events.interactions import aggregate_interactions, weigh_events
from vrec.events.split import split_interactions
from vrec.retrieval.config import RetrievalConfig
from vrec.retrieval.registry import build_recommender
from vrec.synthetic.shop.config import SimulationConfig
from vrec.synthetic.shop.simulate import simulate

MODELS = ("popular", "item_knn", "ease", "graph_filter", "content", "multimodal")
WITHHELD_SHARE = 0.2
COLUMNS = ("all", "withheld in the whole catalogue", "withheld among themselves")
EVALUATION = EvaluationConfig(ks=(10,), headline_k=10)


def main() -> None:
    options = number_parser(__doc__, shops=5, users=2000, first=10).parse_args()
    shops = [one_shop(options.first + n, options.users) for n in range(options.shops)]
    for column, name in enumerate(COLUMNS):
        print(f"\nNDCG@10, {name}, {len(shops)} shops")
        values = {model: np.array([shop[model][column] for shop in shops]) for model in MODELS}
        for model, each in values.items():
            gap = values["multimodal"] - each
            words = f"{model:14} {interval(each)}"
            print(words if model == "multimodal" else f"{words}   multimodal {interval(gap, sign='+')}")


def one_shop(seed: int, users: int) -> dict[str, tuple[float, ...]]:
    """Return NDCG@10 of each model in a shop, in the order of COLUMNS."""
    made = simulate(SimulationConfig.model_validate({"seed": seed, "users": users, "slots": 5}))
    parts = split_interactions(weigh_events(made.events, InterestConfig(), made.videos), TimeSplitConfig())
    videos = made.videos.column("video_id").to_pylist()
    count = int(WITHHELD_SHARE * len(videos))
    withheld = np.random.default_rng(seed).choice(videos, count, replace=False).tolist()
    known = pc.is_in(parts.train.column("video_id"), value_set=pa.array(withheld))
    train = aggregate_interactions(parts.train.filter(pc.invert(known)), InterestConfig())
    test = parts.test.filter(
        pc.is_in(parts.test.column("user_id"), value_set=train.column("user_id").unique())
    )
    asked = test.column("user_id").unique().to_pylist()
    cold = test.filter(pc.is_in(test.column("video_id"), value_set=pa.array(withheld)))
    content = CatalogContent(made.videos, made.embeddings)
    fitted = {model: build_recommender(model, RetrievalConfig()).fit(train, content) for model in MODELS}
    lists = {model: one.recommend(asked, 10) for model, one in fitted.items()}
    among = {model: one.recommend(asked, 10, candidates=withheld) for model, one in fitted.items()}
    whole = (
        ndcg(lists, train, test, videos),
        ndcg(lists, train, cold, videos),
        ndcg(among, train, cold, videos),
    )
    went_on = len(cold.column("user_id").unique())
    print(f"shop {seed}: {len(asked):,} test users, {went_on:,} with a withheld video", flush=True)
    return {model: tuple(part[model] for part in whole) for model in MODELS}


def ndcg(lists: dict[str, pa.Table], train: pa.Table, test: pa.Table, catalog: list[str]) -> dict[str, float]:
    result = evaluate_recommendations(lists, train, test, EVALUATION, catalog=catalog)
    return {model: row["ndcg@10"].mean for model, row in result.overall.metrics.items()}


def interval(each: npt.NDArray[np.float64], sign: str = "") -> str:
    half = stats.t.ppf(0.975, len(each) - 1) * each.std(ddof=1) / len(each) ** 0.5
    return f"{each.mean():{sign}.4f} ± {half:.4f}"


if __name__ == "__main__":
    main()
