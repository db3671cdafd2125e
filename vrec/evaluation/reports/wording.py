"""Names, definitions and number formats of metrics in reports."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

NAMES: Mapping[str, str] = {
    "ndcg": "NDCG",
    "recall": "Recall",
    "hit_rate": "Hit rate",
    "map": "MAP",
    "mrr": "MRR",
    "precision": "Precision",
    "coverage": "Coverage",
    "top_share": "Most shown",
    "gini": "Gini",
    "novelty": "Novelty",
    "diversity": "Diversity",
    "popularity_rank": "Popularity rank",
}

DEFINITIONS: Mapping[str, str] = {
    "ndcg": "Sum of 1 / log2(rank + 1) over the hits in the first k ranks, divided by that of the ideal "
    "order, which has min(k, relevant) hits at the top.",
    "recall": "Hits in the first k ranks / the user's relevant videos. Liang et al. (2018) divide by "
    "min(k, relevant) instead, which gives higher values.",
    "hit_rate": "1 if there is a relevant video in the first k ranks, else 0.",
    "map": "Sum of the precisions at the ranks of the hits in the first k ranks / min(k, relevant). "
    "trec_eval divides by all relevant videos.",
    "mrr": "1 / the rank of the first hit; 0 without a hit in the first k ranks.",
    "precision": "Hits in the first k ranks / k.",
    "coverage": "Share of the catalog's videos that are recommended to at least one test user in the first "
    "k ranks.",
    "top_share": "Share of the lists that hold, in the first k ranks, the video most often recommended.",
    "gini": "Inequality of the numbers of test users that each video of the catalog is recommended to: 0 if "
    "all are equal, near 1 if a few videos get all recommendations.",
    "novelty": "Mean self-information of a list's videos in bits: −log2 of (users who watched the video in "
    "train + 1) / (users in train + 1).",
    "diversity": "1 − the mean cosine similarity of all pairs of a list's videos. Lists with fewer than two "
    "videos that have a vector are left out.",
    "popularity_rank": "Mean popularity rank of a list's videos by users in train; 1 is the most watched.",
}


def metric_label(key: str) -> str:
    """Return the display name of a metric's key: "ndcg@10" → "NDCG@10"."""
    name, at, k = key.partition("@")
    return f"{NAMES.get(name, name)}{at}{k}"


def format_metric(value: float | None, key: str) -> str:
    """Format a metric's value with suitable digits: 0.1532, 37.2 %, 8.41, 1,204; – if undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    match key.partition("@")[0]:
        case "coverage" | "top_share":
            return f"{value * 100:.1f} %"
        case "novelty":
            return f"{value:.2f}"
        case "popularity_rank":
            return f"{value:,.0f}"
        case "diversity" | "gini":
            return f"{value:.3f}"
        case _:
            return f"{value:.4f}"


def format_setting(value: Any) -> str:
    """Format a setting's value as in YAML, floats with four digits."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False, default=str).replace('"', "")


def format_difference(value: float) -> str:
    """Format a difference with its sign: +0.0123, −0.0040, 0.0000."""
    text = f"{abs(value):.4f}"
    sign = "" if float(text) == 0 else "+" if value > 0 else "−"
    return sign + text


def format_interval(
    low: float | None,
    high: float | None,
    outcomes: int | None,
    number: Callable[[float], str] = "{:.4f}".format,
) -> str:
    """Format an interval for a tooltip: interval 0.1000 to 0.2000, or why there is none."""
    if low is None or high is None:
        return "no interval" if outcomes is None else f"no interval, {format_too_few(outcomes)}"
    return f"interval {number(low)} to {number(high)}"


def format_too_few(outcomes: int) -> str:
    """Format the mark of an estimate without an interval: too few (4)."""
    return f"too few ({outcomes:,})"
