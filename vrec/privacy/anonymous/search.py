"""Search of the levels that keep the most information while few rows are left out."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from vrec.core.errors import PrivacyError
from vrec.privacy.anonymous.classes import Codes, Mask, SensitiveCodes, anonymous_rows, combined_keys
from vrec.privacy.anonymous.levels import LevelCodes, hidden_level

Node = tuple[int, ...]
"""A level of each column."""


@dataclass(frozen=True)
class AnonymityProblem:
    """Columns with their levels, and what is asked of them."""

    columns: Mapping[str, tuple[Codes, Sequence[LevelCodes]]]
    """(N,) codes of each quasi-identifier, and its levels from the finest on."""
    shoppers: Codes
    sensitive: Mapping[str, SensitiveCodes]
    k: int
    diversity: int
    joined: bool

    def keys(self, levels: Mapping[str, LevelCodes]) -> Codes:
        """Return (N,) keys of the quasi-identifiers at some levels; columns without one are left out."""
        codes = [level.codes[self.columns[name][0]] for name, level in levels.items()]
        return combined_keys(codes, [len(level.labels) for level in levels.values()], len(self.shoppers))

    def rows(self, levels: Mapping[str, LevelCodes], without: str | None = None) -> Mask:
        """Return (N,) bool, whether rows may be written at some levels.

        `without` names a sensitive column that is left out.
        """
        return anonymous_rows(
            self.keys(levels),
            self.shoppers,
            [codes for name, codes in self.sensitive.items() if name != without],
            k=self.k,
            diversity=self.diversity,
            joined=self.joined,
        )

    def first_levels(self) -> dict[str, LevelCodes]:
        """Return the first level of each column."""
        return {name: levels[0] for name, (_, levels) in self.columns.items()}

    def last_levels(self) -> dict[str, LevelCodes]:
        """Return the last level of each column, the most general one."""
        return {name: levels[-1] for name, (_, levels) in self.columns.items()}

    def describe_costs(self, levels: Mapping[str, LevelCodes]) -> str:
        """Return the column without which the most rows would be left, as a part of a message."""
        kept: dict[str, float] = {}
        for name, level in levels.items():
            rows = self.rows({**levels, name: hidden_level(len(level.codes))})
            kept[f"without {name}"] = float(rows.mean())
        if self.diversity > 1:
            for name in self.sensitive:
                kept[f"without {name}"] = float(self.rows(levels, without=name).mean())
        costliest = max(kept, key=lambda name: kept[name], default=None)
        if costliest is None or not kept[costliest]:
            return "no column alone is the reason"
        return f"{costliest}, which costs most, {kept[costliest]:.1%} of the rows would be left"


def search_levels(problem: AnonymityProblem, max_suppressed: float) -> dict[str, LevelCodes]:
    """Return the levels that keep the most information, of those that leave out few rows.

    Information is the sum of the columns' entropies (Gionis and Tassa 2009, "k-anonymization with minimal
    loss of information"). Nodes of the lattice are tried in that order, so that the first that serves is the
    best. Levels at which one column or two alone leave out too many rows are skipped, since further columns
    only divide classes (LeFevre et al. 2005, "Incognito").

    Args:
        problem: The columns.
        max_suppressed: Share of rows that may be left out.

    Raises:
        PrivacyError: There are none; the message names the column that costs most.
    """
    serving: dict[str, list[tuple[float, LevelCodes]]] = {}
    for name, (codes, levels) in problem.columns.items():
        alone = [one for one in levels if _suppressed(problem.rows({name: one})) <= max_suppressed]
        bits = [(_entropy(one.codes[codes]), one) for one in alone]
        serving[name] = sorted(bits, key=lambda pair: -pair[0])

    @cache
    def serves(*steps: tuple[str, int]) -> bool:
        chosen = {name: serving[name][step][1] for name, step in steps}
        return _suppressed(problem.rows(chosen)) <= max_suppressed

    if all(serving.values()):
        for node in _by_loss([[bits for bits, _ in levels] for levels in serving.values()]):
            steps = tuple(zip(serving, node, strict=True))
            if all(serves(*pair) for pair in combinations(steps, 2)) and serves(*steps):
                return {name: serving[name][step][1] for name, step in steps}
    last = problem.last_levels()
    least = _suppressed(problem.rows(last))
    raise PrivacyError(
        f"at k = {problem.k}, no levels leave out at most {max_suppressed:.1%} of the rows: the last ones "
        f"leave out {least:.1%}; {problem.describe_costs(last)}",
        fix="raise privacy.anonymous.max_suppressed, lower k or diversity, or give that column more general "
        "levels",
    )


def _suppressed(rows: Mask) -> float:
    return 1.0 - float(rows.mean())


def _entropy(codes: Codes) -> float:
    """Return the entropy of codes, in bits per row."""
    shares = np.bincount(codes) / len(codes)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def _by_loss(bits: Sequence[Sequence[float]]) -> Iterator[Node]:
    """Yield a level of each column, those that keep the most bits first.

    Args:
        bits: Entropies of the levels of each column, the greatest first.
    """
    start: Node = (0,) * len(bits)
    seen: set[Node] = {start}
    queue: list[tuple[float, Node]] = [(-sum(column[0] for column in bits), start)]
    while queue:
        _, node = heapq.heappop(queue)
        yield node
        for place, column in enumerate(bits):
            after = (*node[:place], node[place] + 1, *node[place + 1 :])
            if after[place] < len(column) and after not in seen:
                seen.add(after)
                kept = sum(levels[step] for levels, step in zip(bits, after, strict=True))
                heapq.heappush(queue, (-kept, after))
