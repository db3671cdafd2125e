"""Creators to follow, on Last.fm: artists stand for creators, friends are a social signal.

    python benchmarks/creators.py FOLDER [--seeds 1 2 3]

FOLDER has `ratings.txt` (user, artist, plays) and `trusts.txt` (friends) of lastfm_social. In each split a
random fifth of every history is held out, and of a fifth of the listeners all but one to five artists. Prints
NDCG@10 of lists of the whole catalog, for listeners with more than five artists and for the others, and
paired differences of `creators` with 95 % intervals. EASE is that of all artists, in its dual form, with the
best of several λ for each group of listeners, by the held-out artists of seed 0, which is no split of the
report; the others choose their own settings. The last lines are the Gini coefficient of the places that
artists get, and the share of those of artists with two listeners or fewer, without and with places that are
kept for them.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse

from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.evaluation.intervals import mean_intervals, paired_differences
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.config import CreatorsConfig
from vrec.retrieval.creators.exposure import exposure_gini, keep_places_for_new
from vrec.retrieval.dual_ease import DualEase
from vrec.retrieval.models.creators import CreatorRecommender
from vrec.retrieval.models.graph_filter import GraphFilter
from vrec.retrieval.models.item_knn import ItemKnn
from vrec.retrieval.models.popular import PopularRecommender
from vrec.retrieval.topk import mask_scores, topk_dense

K, FEW, DEPTH = 10, 5, 200
REGULARIZATIONS = (30.0, 60.0, 100.0, 200.0, 400.0)
NEW_LISTENERS = 2
"""Listeners in train up to which an artist counts as new."""
NEW_SHARE = 0.1
"""Share of the places that is kept for new artists in the last lines."""
Floats = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]


class Split:
    """Histories in train and held out, in rows and columns of all listeners and artists in train."""

    def __init__(self, rows: Pairs, seed: int) -> None:
        rng = np.random.default_rng(seed)
        users, user = np.unique(rows[:, 0], return_inverse=True)
        order = np.lexsort((rng.random(len(rows)), user))
        counts = np.bincount(user)
        place = np.empty(len(rows), np.int64)
        place[order] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        limit = np.ceil(0.8 * counts).astype(np.int64)
        short = (rng.random(len(users)) < 0.2) & (counts > FEW)
        limit[short] = rng.integers(1, FEW + 1, short.sum())
        kept = place < limit[user]
        self.table = interactions(rows[kept])
        names = sorted({f"a{artist:05}" for artist in rows[kept, 1]})
        column = {name: n for n, name in enumerate(names)}
        held = np.array([column.get(f"a{artist:05}", -1) for artist in rows[~kept, 1]])
        user = user[~kept][held >= 0]
        self.users = [f"u{number:05}" for number in users]
        self.held = sparse.csr_matrix((np.ones(len(user)), (user, held[held >= 0])), (len(users), len(names)))
        self.is_short = limit <= FEW
        # Held-out artists without a listener in train can be in no list, and count in the ideal.
        self.wanted = np.bincount(np.unique(rows[:, 0], return_inverse=True)[1][~kept], minlength=len(users))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    rows = np.loadtxt(arguments.folder / "ratings.txt").astype(np.int64)
    friends = np.loadtxt(arguments.folder / "trusts.txt", dtype=np.int64)[:, :2]
    names = [[f"u{user:05}" for user in column] for column in friends.T]
    table = pa.table(dict(zip(("user_id", "friend_id"), names, strict=True)))
    chosen = best_regularizations(Split(rows, 0))
    print("λ of EASE: {:g} for more than five artists, {:g} for the others".format(*chosen))
    for seed in arguments.seeds:
        run(Split(rows, seed), table, chosen, seed)


def run(split: Split, friends: pa.Table, regularizations: tuple[float, float], seed: int) -> None:
    """Fit the models on one split, and print what came out."""
    creators = CreatorRecommender(friends=friends).fit(split.table)
    without = CreatorRecommender(CreatorsConfig(friends_weight=0.0), friends).fit(split.table)
    ranked = {
        "creators": lists(creators, split),
        "creators without friends": lists(without, split),
        "popular": lists(PopularRecommender().fit(split.table), split),
        "item_knn": lists(ItemKnn().fit(split.table), split),
        "ease": np.where(
            split.is_short[:, None], *(ease_lists(creators, value) for value in regularizations[::-1])
        ),
        "graph_filter": lists(GraphFilter().fit(split.table), split),
    }
    print(f"\n## split {seed}: {creators.report}\n")
    gains = {name: list_gains(found, split) for name, found in ranked.items()}
    for part, group in (("more than five", ~split.is_short), ("one to five", split.is_short)):
        kept = group & (split.wanted > 0)
        print(f"| {part} artists, {kept.sum():,} listeners | NDCG@10 | creators − it |\n|---|---|---|")
        for name, values in gains.items():
            difference = paired_differences(gains["creators"][kept], values[kept])
            low, high = mean_intervals(difference[:, None], 0.95, 10).ends(0)
            shown = "" if low is None else f"{difference.mean():+.4f} [{low:+.4f}, {high:+.4f}]"
            print(f"| {name} | {values[kept].mean():.4f} | {shown} |")
    print_exposure(ranked, split)


def print_exposure(ranked: dict[str, Pairs], split: Split) -> None:
    """Print how unevenly places go to artists, and the cost of places that are kept for new ones."""
    listeners = np.bincount(np.unique(np.asarray(split.table.column("video_id")), return_inverse=True)[1])
    is_new = listeners <= NEW_LISTENERS
    fair = keep_places_for_new(ranked["creators"], is_new, K, NEW_SHARE, np.random.default_rng(0))
    for name, found in {**ranked, f"creators, {NEW_SHARE:.0%} kept for new": fair}.items():
        top = found[:, :K]
        kept = split.wanted > 0
        print(
            f"exposure of {name}: Gini {exposure_gini(top, len(listeners)):.3f}, "
            f"new artists {is_new[top].mean():.1%}, NDCG@10 {list_gains(found, split)[kept].mean():.4f}"
        )


def lists(model: MatrixRecommender, split: Split) -> Pairs:
    """Return the (users, DEPTH) columns that a model ranks first, without those in the history."""
    rows = model.users.find(split.users)
    found = []
    for start in range(0, len(rows), 256):
        block = rows[start : start + 256]
        histories = model.histories.rows(block)
        scores = model.score_block(histories, block)
        mask_scores(scores, histories.weights, None)
        found.append(topk_dense(scores, DEPTH)[0])
    return np.concatenate(found)


def ease_lists(model: CreatorRecommender, regularization: float) -> Pairs:
    """Return the (users, DEPTH) columns that EASE ranks first, on the histories of a fitted model."""
    seen = model.histories.weights
    binary = sparse.csr_matrix((np.ones(seen.nnz), seen.indices, seen.indptr), seen.shape)
    ease = DualEase.fit(binary, regularization)
    found = []
    for start in range(0, seen.shape[0], 256):
        block = slice(start, start + 256)
        scores = ease.scores(binary[block]).astype(np.float32)
        mask_scores(scores, seen[block], None)
        found.append(topk_dense(scores, DEPTH)[0])
    return np.concatenate(found)


def best_regularizations(split: Split) -> tuple[float, float]:
    """Return the λ of EASE with the best NDCG@10 for listeners of more than FEW artists, and for others."""
    model = CreatorRecommender(CreatorsConfig(graph_weight=1.0, friends_weight=0.0)).fit(split.table)
    gains = np.stack([list_gains(ease_lists(model, value), split) for value in REGULARIZATIONS])
    best = [int(gains[:, group].mean(axis=1).argmax()) for group in (~split.is_short, split.is_short)]
    return REGULARIZATIONS[best[0]], REGULARIZATIONS[best[1]]


def list_gains(found: Pairs, split: Split) -> Floats:
    """Return the (users,) NDCG@10 of lists."""
    rows = np.repeat(np.arange(len(found)), K)
    hits = np.asarray(split.held[rows, found[:, :K].ravel()]).reshape(-1, K)
    discounts = 1 / np.log2(np.arange(2, K + 2))
    ideal = np.cumsum(discounts)[np.clip(split.wanted, 1, K) - 1]
    return (hits * discounts).sum(axis=1) / ideal


def interactions(rows: Pairs) -> pa.Table:
    """Return INTERACTIONS of (N, 3) listeners, artists and plays."""
    return pa.table(
        {
            "user_id": [f"u{user:05}" for user in rows[:, 0]],
            "video_id": [f"a{artist:05}" for artist in rows[:, 1]],
            "weight": pa.array(np.maximum(rows[:, 2], 1), pa.float32()),
            "at": pa.array(np.zeros(len(rows), np.int64), TIMESTAMP),
        },
        schema=INTERACTIONS.arrow(),
    )


if __name__ == "__main__":
    main()
