"""Impressions in parts that are read one after the other, and counts of their outcomes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from vrec.ranking.features.arrays import (
    CatalogFeatureArrays,
    ImpressionLabels,
    RankingFeatures,
)

Examples = tuple[RankingFeatures, ImpressionLabels]
"""Features and labels of the same impressions."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Counts of the outcomes of impressions."""

    impressions: int
    clicked: int
    mature: int
    converted: int
    """Of the mature ones."""
    watched: int
    watch_s: tuple[float, float]
    """Shortest and longest time watched, ∞ and −∞ without impressions."""

    @classmethod
    def of(cls, labels: ImpressionLabels) -> Self:
        """Count the outcomes of impressions."""
        watch = float(np.min(labels.watch_s, initial=np.inf)), float(np.max(labels.watch_s, initial=-np.inf))
        return cls(
            len(labels),
            int((labels.click > 0).sum()),
            int(labels.mature.sum()),
            int((labels.conversion[labels.mature] > 0).sum()),
            int((labels.watch_s > 0).sum()),
            watch,
        )

    @classmethod
    def merge(cls, parts: Sequence[Self]) -> Self:
        """Add the counts of parts."""
        names = ("impressions", "clicked", "mature", "converted", "watched")
        counts: dict[str, int] = {name: sum(getattr(one, name) for one in parts) for name in names}
        least = min((one.watch_s[0] for one in parts), default=np.inf)
        most = max((one.watch_s[1] for one in parts), default=-np.inf)
        return cls(**counts, watch_s=(least, most))


class ExampleParts(Protocol):
    """Impressions in parts, of which one is held at a time."""

    @property
    def catalog(self) -> CatalogFeatureArrays:
        """Features of the catalog, the same for all parts."""
        ...

    @property
    def outcomes(self) -> Outcomes:
        """Counts over all parts."""
        ...

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of impressions of each part; none is empty."""
        ...

    def __iter__(self) -> Iterator[Examples]:
        """Read the parts from the first to the last; each time the same."""
        ...


@dataclass(frozen=True, slots=True)
class HeldParts:
    """Impressions in memory, of which each pair is a part."""

    parts: Sequence[Examples]

    @property
    def catalog(self) -> CatalogFeatureArrays:
        """See `ExampleParts`."""
        return self.parts[0][0].catalog

    @property
    def outcomes(self) -> Outcomes:
        """See `ExampleParts`."""
        return Outcomes.merge([Outcomes.of(labels) for _, labels in self.parts])

    @property
    def sizes(self) -> tuple[int, ...]:
        """See `ExampleParts`."""
        return tuple(len(labels) for _, labels in self.parts)

    def __iter__(self) -> Iterator[Examples]:
        """See `ExampleParts`."""
        return iter(self.parts)


def as_parts(examples: Examples | ExampleParts) -> ExampleParts:
    """Return impressions as parts; a pair of features and labels is one part."""
    return HeldParts((examples,)) if isinstance(examples, tuple) else examples


def concatenate_labels(parts: Sequence[ImpressionLabels]) -> ImpressionLabels:
    """Return the labels of all parts in their order."""
    names = ImpressionLabels.__dataclass_fields__
    return ImpressionLabels(*(np.concatenate([getattr(one, name) for one in parts]) for name in names))
