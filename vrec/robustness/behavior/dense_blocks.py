"""Dense blocks of shoppers and what they choose: groups that act together, however they hide it.

FRAUDAR (Hooi, Song, Beutel, Shah, Shin and Faloutsos 2016, "FRAUDAR: bounding graph fraud in the face of
camouflage", KDD): of all sets of shoppers and columns the one with the most weight per member, where an edge
weighs 1 / ln(d + 5) for a column of d shoppers, so that choosing popular videos as camouflage adds little.
Greedy peeling removes the members that add least and keeps the best of all sets on the way; several are
removed at a time, as in Bahmani, Kumar and Vassilvitskii (2012, "Densest subgraph in streaming and
MapReduce", VLDB), which keeps the number of passes logarithmic.

An honest shop has a densest block too: heavy shoppers and popular videos. What chance gives members of their
degrees is therefore taken off (the null model of modularity, Newman 2006), a block must be denser than the
densest one of the same graph with its columns shuffled over the edges, and most of its shoppers must have
chosen most of its columns, as no taste makes real ones do.
"""

from dataclasses import dataclass

import numpy as np

from vrec.robustness.watched import Floats, Ints

PEELED_SHARE = 0.02
"""Share of the members that one pass removes, at least one."""
LOG_OFFSET = 5.0
ROW_EXPONENT = 0.5
"""Exponent of a shopper's number of edges, by which each of them weighs less: a heavy shopper is in dense
blocks by chance alone."""
MOST_BLOCKS = 8
LEAST_RATIO = 1.1
"""Density over that of the shuffled graph below which no further block is looked for."""
LEAST_SHOPPERS, LEAST_COLUMNS = 4, 4
"""Smallest block; a few shoppers or columns in common are no evidence."""
MEMBER_SHARE = 0.5
SHUFFLE_SEED = 31
_ALIVE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class DenseBlock:
    """Set of shoppers and columns with unusually much weight between them."""

    shoppers: Ints
    columns: Ints
    filled: float
    """Share of the pairs of its shoppers and columns that are edges, less that expected by chance."""


def dense_blocks(rows: Ints, columns: Ints, strata: Ints | None = None) -> list[DenseBlock]:
    """Return the blocks of a graph that are denser than chance explains, the densest first.

    Args:
        rows: (E,) shopper of each edge.
        columns: (E,) column of each edge, each pair once.
        strata: (E,) number of the stratum of each edge, such as its day, within which columns are shuffled;
            None for one stratum.
    """
    if len(rows) < LEAST_SHOPPERS * LEAST_COLUMNS:
        return []
    weights = _edge_weights(rows, columns)
    by_chance = _chance_density(rows, columns, np.zeros_like(rows) if strata is None else strata)
    found: list[DenseBlock] = []
    left = np.ones(len(rows), bool)
    for _ in range(MOST_BLOCKS):
        if not left.any():
            break
        shoppers, members, density = densest_block(rows[left], columns[left], weights[left])
        if density < LEAST_RATIO * by_chance or not len(shoppers) or not len(members):
            break
        inside = np.isin(rows, shoppers) & np.isin(columns, members)
        if len(shoppers) >= LEAST_SHOPPERS and len(members) >= LEAST_COLUMNS:
            degrees = np.isin(rows, shoppers).sum() * np.isin(columns, members).sum() / len(rows)
            filled = (inside.sum() - degrees) / (len(shoppers) * len(members))
            found.append(DenseBlock(_with_others(rows, columns, shoppers, members), members, float(filled)))
        left &= ~inside
    return found


def densest_block(rows: Ints, columns: Ints, weights: Floats) -> tuple[Ints, Ints, float]:
    """Return the shoppers and the columns of the densest block that peeling finds, and its density.

    With W the weight of the edges within a block, R and C the weights of all edges of its shoppers and of its
    columns, and M that of all edges, the density is (W − R C / M) over the number of members.

    Args:
        rows: (E,) shopper of each edge.
        columns: (E,) column of each edge.
        weights: (E,) weight of each edge, > 0.
    """
    shoppers, u = np.unique(rows, return_inverse=True)
    names, v = np.unique(columns, return_inverse=True)
    v = v + len(shoppers)
    size, total = len(shoppers) + len(names), float(weights.sum())
    all_degrees = np.bincount(u, weights, size) + np.bincount(v, weights, size)
    is_row = np.arange(size) < len(shoppers)
    gone = np.full(size, _ALIVE)  # pass in which a member was removed
    alive = np.arange(size)
    best, best_pass, number = 0.0, _ALIVE, 0
    while len(alive) and len(weights):
        of_rows = float(all_degrees[alive[is_row[alive]]].sum())
        of_columns = float(all_degrees[alive[~is_row[alive]]].sum())
        density = (float(weights.sum()) - of_rows * of_columns / total) / len(alive)
        if density > best * (1 + 1e-12) + 1e-12:
            best, best_pass = density, number
        degree = np.bincount(u, weights, size) + np.bincount(v, weights, size)
        adds = degree[alive] - all_degrees[alive] * np.where(is_row[alive], of_columns, of_rows) / total
        count = max(1, int(PEELED_SHARE * len(alive)))
        gone[alive[np.argpartition(adds, count - 1)[:count]]] = number
        number += 1
        alive = alive[gone[alive] == _ALIVE]
        kept = (gone[u] >= number) & (gone[v] >= number)
        u, v, weights = u[kept], v[kept], weights[kept]
    inside = gone >= best_pass if best_pass < _ALIVE else np.zeros(size, bool)
    return shoppers[inside[: len(shoppers)]], names[inside[len(shoppers) :]], best


def _with_others(rows: Ints, columns: Ints, shoppers: Ints, members: Ints) -> Ints:
    """Return the shoppers of a block and the others who have chosen MEMBER_SHARE of its columns.

    The densest block lacks members with more camouflage, or with fewer of the columns, than the rest.
    """
    of_columns, counts = np.unique(rows[np.isin(columns, members)], return_counts=True)
    return np.union1d(shoppers, of_columns[counts >= MEMBER_SHARE * len(members)])


def _edge_weights(rows: Ints, columns: Ints) -> Floats:
    degrees = np.unique(columns, return_inverse=True, return_counts=True)
    lengths = np.unique(rows, return_inverse=True, return_counts=True)
    per_column = 1 / np.log(degrees[2][degrees[1]] + LOG_OFFSET)
    return per_column / lengths[2][lengths[1]].astype(np.float64) ** ROW_EXPONENT


def _chance_density(rows: Ints, columns: Ints, strata: Ints) -> float:
    """Return the density of the densest block of the graph with its columns shuffled within the strata."""
    drawn = np.random.default_rng(SHUFFLE_SEED).permutation(len(columns))
    drawn = drawn[np.argsort(strata[drawn], kind="stable")]
    shuffled = np.empty_like(columns)
    shuffled[np.argsort(strata, kind="stable")] = columns[drawn]
    # Pairs that come twice count twice: to drop them would make chance look sparser than it is.
    return densest_block(rows, shuffled, _edge_weights(rows, shuffled))[2]
