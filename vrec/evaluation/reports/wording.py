"""How reports name metrics, define them, and write their figures."""

import math
from collections.abc import Mapping

NAMES: Mapping[str, str] = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "hit_rate": "Hit rate",
    "map": "MAP",
    "mrr": "MRR",
    "precision": "Precision",
    "coverage": "Coverage",
    "gini": "Gini",
    "novelty": "Novelty",
    "diversity": "Diversity",
    "popularity_rank": "Popularity rank",
}

DEFINITIONS: Mapping[str, str] = {
    "ndcg": "A hit at rank r gains 1 / log2(r + 1); the sum over that of the best order, which has "
    "min(k, relevant) hits at the top.",
    "recall": "Hits in the first k ranks / the user's relevant videos. Liang et al. (2018) divide by "
    "min(k, relevant) instead, which gives higher figures.",
    "hit_rate": "1 where the first k ranks hold a relevant video, else 0.",
    "map": "The precision at each hit's rank, summed, / min(k, relevant). trec_eval divides by all "
    "relevant videos.",
    "mrr": "1 / the rank of the first hit; 0 where the first k ranks have none.",
    "precision": "Hits in the first k ranks / k.",
    "coverage": "Share of the catalogue's videos that at least one test user is shown in the first k ranks.",
    "gini": "Inequality of how many test users are shown each video of the catalogue: 0 where all are shown "
    "alike, near 1 where a few have it all.",
    "novelty": "Mean bits of surprise of a list: −log2 of (users who watched the video in train + 1) / "
    "(users in train + 1).",
    "diversity": "1 − the mean cosine of all pairs of a list's videos; lists with fewer than two videos that "
    "have a vector are left out.",
    "popularity_rank": "Mean place of a list's videos by users in train: 1 is the most watched.",
}


def metric_label(key: str) -> str:
    """A metric's name as people write it, of a key such as "ndcg@10": NDCG@10."""
    name, at, k = key.partition("@")
    return f"{NAMES.get(name, name)}{at}{k}"


def format_metric(value: float | None, key: str) -> str:
    """A metric's figure with the digits that suit it: 0.1532, 37.2 %, 8.41, 1,204; – where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    match key.partition("@")[0]:
        case "coverage":
            return f"{value * 100:.1f} %"
        case "novelty":
            return f"{value:.2f}"
        case "popularity_rank":
            return f"{value:,.0f}"
        case "diversity" | "gini":
            return f"{value:.3f}"
        case _:
            return f"{value:.4f}"


def format_difference(value: float) -> str:
    """A difference with its sign: +0.0123, −0.0040, 0.0000."""
    text = f"{abs(value):.4f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else "−"
    return sign + text
