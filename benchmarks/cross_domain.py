"""Shoppers known from another domain: cross-domain models on pairs of Amazon domains with the same shoppers.

    python benchmarks/cross_domain.py FOLDER [--pairs phone_sport sport_phone] [--folds 3]

FOLDER has the sets of DisenCDR (Cao et al. 2022): `<target>_<source>_train.txt` and `_test.txt`, one held-out
item of the target for each shopper. NDCG@10 of lists of the whole target:

- **cold**: a fifth of the shoppers lose all they did in the target, and are recommended to from the source;
  in each fold another fifth. `mapped` is a linear map from factors of the source to the target's items,
  fitted on the other shoppers, after EMCDR (Man et al. 2017). With `shuffled` links the source's histories
  belong to other shoppers.
- **warm**: the others of the first fold, with both histories, beside `item_knn` on the target alone.
- **unlinked**: every second one of these without a link, while all others have theirs.

Who gets no list is shown the popular one, as by `vrec recommend`; of the target alone that is all the cold.

Prints the mean over shoppers, and the paired difference of `cross_domain` from each, with 95 % intervals. An
item that is sold in both domains is in both, with the same buyers: `twins` is the share of held-out items of
which the source has one with nearly the same buyers (Jaccard above .8, at least three).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import sparse
from scipy.sparse.linalg import svds

from vrec.core.schema import INTERACTIONS, TIMESTAMP
from vrec.core.types import CatalogContent
from vrec.events.videos import complete_videos
from vrec.retrieval.config import CrossDomainConfig, RetrievalConfig
from vrec.retrieval.models.cross_domain import CrossDomain
from vrec.retrieval.registry import build_recommender

PAIRS = ("phone_sport", "sport_phone", "sport_cloth", "cloth_sport")
K, FOLDS = 10, 5
FACTORS, RIDGE = 64, 10.0

Floats = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]
Figures = tuple[str, str, Floats]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pairs", nargs="+", default=PAIRS)
    parser.add_argument("--folds", type=int, default=3, choices=range(1, FOLDS + 1))
    options = parser.parse_args()
    for pair in options.pairs:
        report(options.folder, *pair.split("_"), folds=options.folds)


def report(folder: Path, target: str, source: str, *, folds: int) -> None:
    """Print the figures of one pair of domains."""
    own = read(folder / f"{target}_{source}_train.txt")
    other = read(folder / f"{source}_{target}_train.txt")
    test = read(folder / f"{target}_{source}_test.txt")
    figures: dict[str, dict[str, list[Floats]]] = {"cold": {}, "warm": {}, "unlinked": {}}
    order = np.random.default_rng(0).permutation(len(test))
    for fold in range(folds):
        cold = order % FOLDS == fold
        gone = np.isin(own[:, 0], test[cold, 0])
        fitted = own[~gone]
        for part, name, values in measure(fitted, other, test, cold, with_warm=not fold):
            figures[part].setdefault(name, []).append(values)
    print(f"\n{target} from {source}, {folds} folds; twins {twin_share(own, other, test):.1%}")
    for part, models in figures.items():
        ours = np.concatenate(models["cross_domain"])
        print(f"  {part}, {len(ours):,} lists")
        for name, values in models.items():
            each = np.concatenate(values)
            gap = "" if name == "cross_domain" else f"   cross_domain {interval(ours - each, '+')}"
            print(f"    {name:22} {interval(each)}{gap}", flush=True)


def measure(
    own: Pairs, other: Pairs, test: Pairs, cold: npt.NDArray[np.bool_], *, with_warm: bool
) -> Iterator[Figures]:
    """Yield the part, the model and the NDCG@10 of each of its shoppers."""
    columns = np.unique(own[:, 1])
    videos = [f"t{item}" for item in columns]
    content = CatalogContent(catalog(videos, [f"s{item}" for item in np.unique(other[:, 1])]))
    alone, merged = table((own, "t")), table((own, "t"), (other, "s"))
    config = RetrievalConfig()
    ours = cross_domain(merged, content, "as linked")
    mixed = {name: build_recommender(name, config).fit(merged) for name in ("item_knn", "als")}
    popular = build_recommender("popular", config).fit(alone)
    users, wanted = [f"u{user}" for user in test[cold, 0]], [f"t{item}" for item in test[cold, 1]]
    strangers = table((np.stack([test[cold, 0], np.full(cold.sum(), columns[0])], 1), "t"))
    base = gains(popular.recommend_from(strangers, K, allow_seen=True), users, wanted)
    yield "cold", "cross_domain", gains(ours.recommend(users, K), users, wanted, base)
    for name, model in mixed.items():
        lists = model.recommend(users, K, candidates=videos)
        yield "cold", f"{name}, merged", gains(lists, users, wanted, base)
    yield "cold", "popular, target alone", base
    yield "cold", "mapped", mapped_gains(own, other, test[cold], columns)
    shuffled = other.copy()
    shuffled[:, 0] = np.random.default_rng(1).permutation(other[:, 0].max() + 1)[other[:, 0]]
    strange = cross_domain(table((own, "t"), (shuffled, "s")), content, "shuffled")
    yield "cold", "cross_domain, shuffled", gains(strange.recommend(users, K), users, wanted, base)
    if not with_warm:
        return
    users, wanted = [f"u{user}" for user in test[~cold, 0]], [f"t{item}" for item in test[~cold, 1]]
    only = build_recommender("item_knn", config).fit(alone)
    yield "warm", "cross_domain", gains(ours.recommend(users, K), users, wanted)
    yield "warm", "item_knn, target alone", gains(only.recommend(users, K), users, wanted)
    yield "warm", "cross_domain, shuffled", gains(strange.recommend(users, K), users, wanted)
    for name, model in mixed.items():
        yield "warm", f"{name}, merged", gains(model.recommend(users, K, candidates=videos), users, wanted)
    users, wanted = users[::2], wanted[::2]
    linked = other[~np.isin(other[:, 0], test[~cold, 0][::2])]
    fewer = cross_domain(table((own, "t"), (linked, "s")), content, "half unlinked")
    yield "unlinked", "cross_domain", gains(fewer.recommend(users, K), users, wanted)
    yield "unlinked", "item_knn, target alone", gains(only.recommend(users, K), users, wanted)


def cross_domain(interactions: pa.Table, content: CatalogContent, links: str) -> CrossDomain:
    """Return the model of the target, and print the weight that its fit chose."""
    model = CrossDomain(CrossDomainConfig(target="target")).fit(interactions, content)
    print(f"    {links}: weight {model.report['weights']}, leads {model.report['leads']}", flush=True)
    return model


def catalog(target: list[str], source: list[str]) -> pa.Table:
    """Return VIDEOS of both domains."""
    domains = ["target"] * len(target) + ["source"] * len(source)
    return complete_videos(pa.table({"video_id": target + source, "domain": domains}), "videos")


def read(path: Path) -> Pairs:
    """Return (N, 2) users and items."""
    return np.loadtxt(path, dtype=np.int64, usecols=(0, 1))


def table(*parts: tuple[Pairs, str]) -> pa.Table:
    """Return INTERACTIONS of users and items, whose ids begin with a letter for their domain."""
    users = [f"u{user}" for pairs, _ in parts for user in pairs[:, 0]]
    items = [f"{letter}{item}" for pairs, letter in parts for item in pairs[:, 1]]
    made = pa.table(
        {
            "user_id": users,
            "video_id": items,
            "weight": pa.array(np.ones(len(users)), pa.float32()),
            "at": pa.array(np.zeros(len(users), np.int64), TIMESTAMP),
        }
    )
    return made.group_by(["user_id", "video_id"], use_threads=False).aggregate(
        [("weight", "max"), ("at", "max")]
    ).rename_columns(["user_id", "video_id", "weight", "at"]).cast(INTERACTIONS.arrow())  # fmt: skip


def gains(lists: pa.Table, users: list[str], wanted: list[str], without: Floats | None = None) -> Floats:
    """Return the (users,) NDCG@10 of lists with one relevant item for each user.

    Args:
        lists: RECOMMENDATIONS.
        users: The users.
        wanted: Relevant item of each.
        without: (users,) NDCG@10 of those without a list; None for 0.
    """
    columns = (lists.column(name).to_pylist() for name in ("user_id", "video_id", "rank"))
    places = {(user, video): rank for user, video, rank in zip(*columns, strict=True)}
    found = [places.get(pair) for pair in zip(users, wanted, strict=True)]
    values = np.array([0.0 if rank is None or rank > K else 1 / np.log2(1 + rank) for rank in found])
    if without is None:
        return values
    return np.where(np.isin(users, lists.column("user_id").to_pylist()), values, without)


def mapped_gains(own: Pairs, other: Pairs, test: Pairs, columns: Pairs) -> Floats:
    """Return the NDCG@10 of a ridge regression from factors of the source to the target's items."""
    users = int(max(own[:, 0].max(), other[:, 0].max(), test[:, 0].max())) + 1
    place = {item: n for n, item in enumerate(columns)}
    into = np.array([place[item] for item in own[:, 1]])
    goal = unit_rows(sparse.csr_matrix((np.ones(len(own)), (own[:, 0], into)), (users, len(columns))))
    history = unit_rows(
        sparse.csr_matrix((np.ones(len(other)), (other[:, 0], other[:, 1])), (users, other[:, 1].max() + 1))
    )
    factors = history @ svds(history, FACTORS, random_state=0)[2].T
    known = np.unique(own[:, 0])
    squares = factors[known].T @ factors[known]
    ridge = squares + RIDGE * np.trace(squares) / len(known) * np.eye(FACTORS)
    weights = np.linalg.solve(ridge, (goal[known].T @ factors[known]).T)
    values = []
    for user, item in test:
        if item not in place:
            values.append(0.0)
            continue
        scores = factors[user] @ weights
        rank = 1 + np.count_nonzero(scores > scores[place[item]])
        values.append(1 / np.log2(1 + rank) if rank <= K else 0.0)
    return np.array(values)


def unit_rows(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return the rows divided by the root of their number of entries."""
    lengths = np.sqrt(np.maximum(1, np.diff(matrix.indptr)))
    return sparse.csr_matrix(sparse.diags(1 / lengths) @ matrix)


def twin_share(own: Pairs, other: Pairs, test: Pairs) -> float:
    """Return the share of held-out items with nearly the same buyers as an item of the source."""
    users = int(max(own[:, 0].max(), other[:, 0].max())) + 1
    left, right = (
        sparse.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (users, pairs[:, 1].max() + 1))
        for pairs in (own, other)
    )
    both = (left.T @ right).tocoo()
    buyers = np.asarray(left.sum(0)).ravel(), np.asarray(right.sum(0)).ravel()
    shared = both.data / (buyers[0][both.row] + buyers[1][both.col] - both.data)
    twins = np.unique(both.row[(shared > 0.8) & (both.data >= 3)])
    return float(np.isin(test[:, 1], twins).mean())


def interval(values: Floats, sign: str = "") -> str:
    """Return the mean with its 95 % interval."""
    return f"{values.mean():{sign}.4f} ± {1.96 * values.std() / len(values) ** 0.5:.4f}"


if __name__ == "__main__":
    main()
