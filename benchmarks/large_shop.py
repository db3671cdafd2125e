"""A bundle of a large drawn shop, made as a shop would make its own, only with fewer epochs of training.

`python -m benchmarks.large_shop OUT --videos 100000` keeps one for several runs of benchmarks/serve.py.
"""

import numpy as np
import pyarrow as pa
from harness import number_parser

from vrec.bundle.inputs import BundleInputs
from vrec.bundle.write import BundleConfig, write_bundle
from vrec.config.load import load_settings
from vrec.config.train_ranker import TrainRankerConfig
from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.core.types import CatalogContent
from vrec.pipelines.cluster import connect_cluster
from vrec.pipelines.train.impressions import build_examples
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.training import RankerTrainer
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.synthetic.shop.simulate import ShopSimulation, SimulationConfig, simulate

USERS, EACH = 30_000, 20
"""Users with interactions that neighbours come of, and how many each."""


def large_bundle(uri: str, *, videos: int, dim: int = 64) -> str:
    """Write a bundle and return its folder."""
    made = simulate(
        SimulationConfig(
            users=1500, videos=videos, requests_per_user=8, dim=dim, cold_share=0.0, click_rate=0.2
        )
    )
    settings = load_settings(
        None, ["train.ranker.training.epochs=1", "train.ranker.labels.conversion_window_hours=24"]
    ).train.ranker
    interactions = drawn_interactions(made)
    parts = BundleInputs(
        videos=made.videos,
        ranker=trained(made, settings),
        profiles=settings.profiles,
        fused=made.embeddings,
        recommender=ItemKnn().fit(interactions),
        interactions=interactions,
    )
    write_bundle(uri, parts, BundleConfig())
    return uri


def trained(made: ShopSimulation, config: TrainRankerConfig) -> NetworkRanker:
    """Return a DIN with its default sizes, after one epoch."""
    content = CatalogContent(made.videos, made.embeddings)
    with connect_cluster():
        found = build_examples(made.events, content, config)
    train, valid = ((part.features, part.labels) for part in (found.train, found.validation))
    network, head = build_untrained(config.model, train[0].shape, train[1])
    trainer = RankerTrainer(
        network, config.model.heads, head, train=train, valid=valid, config=config.model.training
    )
    return NetworkRanker.from_training(
        config.model, found.space, content, trainer.run(), head, train=train, valid=valid
    )


def drawn_interactions(made: ShopSimulation) -> pa.Table:
    """Draw INTERACTIONS of users who watch two categories each, popular videos more often."""
    rng = np.random.default_rng(0)
    names = made.videos.column("video_id")
    category = made.videos.column("category").combine_chunks().dictionary_encode()
    by_category = [np.flatnonzero(np.asarray(category.indices) == c) for c in range(len(category.dictionary))]
    chosen: list[np.ndarray] = []
    for _ in range(USERS):
        some = np.concatenate([by_category[c] for c in rng.choice(len(by_category), 2, replace=False)])
        # Zipf-like: a square of a uniform draw favours the first ones.
        chosen.append(some[(rng.random(EACH) ** 2 * len(some)).astype(int)])
    rows = np.concatenate(chosen)
    at = rng.integers(1_735_700_000, 1_738_200_000, len(rows)) * 1_000_000
    columns = [
        pa.array([f"u{user}" for user in range(USERS) for _ in range(EACH)]),
        names.take(pa.array(rows)).combine_chunks(),
        pa.array(np.ones(len(rows), np.float32)),
        pa.array(at).cast(TIMESTAMP),
    ]
    return pa.Table.from_arrays(columns, schema=INTERACTIONS.arrow())


if __name__ == "__main__":
    parser = number_parser(__doc__, videos=100_000)
    parser.add_argument("out")
    asked = parser.parse_args()
    print(large_bundle(asked.out, videos=asked.videos))
