"""Feature space: vocabularies, priors and scales fitted on a training split."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, ValidationError

from vrec.core.artifact import Arrays
from vrec.core.compute import pc
from vrec.core.config import BaseConfig
from vrec.core.errors import ModelError
from vrec.ranking.features.arrays import FeatureShape, Floats
from vrec.ranking.features.video_counts import RATES, USER_RATES, Doubles, ReleasedCounts

FIELDS = ("video_id", "creator_id", "category", "kind", "domain", "language")
"""Video fields with a vocabulary; tags have one too."""
CONTEXT = ("surface", "hour", "weekday")
"""Request fields; hours and weekdays (from Monday) are UTC, each with an index of its own."""
BLOCKS: dict[str, tuple[str, ...]] = {
    "video": ("log_duration", "no_duration", "log_price", "no_price", "no_vector"),
    "user": (
        *(f"log_{kind}" for kind in ("impression", "click", "watch", "like", "cart", "purchase")),
        *(f"{rate.name}_rate" for rate in USER_RATES),
        "log_watch_s", "log_idle_hours", "no_event", "log_history", "no_history", "no_taste",
        "no_liked_vector",
    ),
    "candidate": (
        *(f"{rate.name}_rate" for rate in RATES),
        "log_watch_s", "log_impressions", "log_clicks", "log_watches", "log_age_hours", "no_age",
        "category_affinity", "creator_affinity", "tags_affinity",
        "taste_cosine", "liked_cosine_max", "liked_cosine_mean", "liked", "log_liked_hours",
    ),
    "history": ("log_age_hours", "log_weight"),
}  # fmt: skip
"""Numbers of each block, in order. A missing number is 0 after scaling, the mean of the training split, and
has an indicator: `no_…` is 1 where the number is missing, `liked` is 0."""
INDICATORS = frozenset({*(n for names in BLOCKS.values() for n in names if n.startswith("no_")), "liked"})
COLUMNS = (
    *(f"field.{name}" for name in (*FIELDS, "tags")),
    *(f"context.{name}" for name in CONTEXT),
    *(f"{block}.{name}" for block, names in BLOCKS.items() for name in names),
)
VOCABULARIES = (*FIELDS, "tags", "surface")
SHARES = ("category", "creator_id")
HOURS, WEEKDAYS = 24, 7


class RankerFeaturesConfig(BaseConfig):
    """Settings of the features."""

    history: int = Field(default=50, ge=1)
    """Number of newest history entries that a ranker sees; bounded by the history that profiles keep."""
    tags: int = Field(default=8, ge=1)
    """Number of tags per video: the first of its list that are in the vocabulary."""
    min_count: int = Field(default=5, ge=1)
    """Least number of impressions in the training split for an id, category or tag to enter the vocabulary.
    Rarer values share the index of the unknown value, which is thereby trained too."""
    positions: int = Field(default=50, ge=1)
    """Number of slots with an index of their own; lower slots share the last one."""
    affinity_strength: float = Field(default=5.0, gt=0)
    """Number of interest events at which a user's own share of a category or creator weighs as much as its
    share of all impressions."""
    watch_strength: float = Field(default=10.0, gt=0)
    """Number of watches at which the mean seconds of a video or user weigh as much as the overall mean."""
    limit: float = Field(default=8.0, gt=0)
    """Standard deviations from the mean at which numbers are clipped."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Vocabularies, priors and scales of a training split, as fitted by `fit_space`."""

    config: RankerFeaturesConfig
    vocabularies: Mapping[str, tuple[str, ...]]
    """Values by name in VOCABULARIES; the first has index 1, and 0 is the unknown value."""
    shares: Mapping[str, Doubles]
    """(vocabulary,) shares of the impressions by name in SHARES, above 0."""
    priors: Doubles
    """(len(RATES), 2) rate and strength of the priors of video rates."""
    user_priors: Doubles
    """(len(USER_RATES), 2) rate and strength of the priors of user rates."""
    seconds: Doubles
    """(2,) mean seconds of a watch, over videos and over users."""
    scales: Mapping[str, Doubles]
    """(2, columns) means and standard deviations by block; 0 and 1 for indicators."""
    encoder: str | None
    """Encoder of the content vectors; None where there were none."""
    mean: Floats
    """(dim,) mean content vector, which is subtracted from all."""
    released: ReleasedCounts | None = None
    """Noised counts of videos that requests' own counts give way to; None for a ranker without privacy."""

    @property
    def dim(self) -> int:
        """Length of the content vectors, 0 for none."""
        return len(self.mean)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all features in order."""
        return COLUMNS

    @cached_property
    def shape(self) -> FeatureShape:
        """Sizes that determine the input layers of a network."""
        sizes = {name: len(values) + 1 for name, values in self.vocabularies.items()}
        return FeatureShape(
            fields=tuple(sizes[name] for name in FIELDS),
            tags=sizes["tags"],
            video=len(BLOCKS["video"]),
            dim=self.dim,
            context=(sizes["surface"], HOURS + 1, WEEKDAYS + 1),
            user=len(BLOCKS["user"]),
            candidate=len(BLOCKS["candidate"]),
            history=len(BLOCKS["history"]),
            positions=self.config.positions + 1,
        )

    @cached_property
    def surfaces(self) -> dict[str, int]:
        """Index by surface."""
        return {name: index for index, name in enumerate(self.vocabularies["surface"], start=1)}

    def vocabulary_indices(self, field: str, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int32]:
        """Return (N,) int32 vocabulary indices of values, 0 for null and unknown ones."""
        known = pa.array(self.vocabularies[field], pa.string())
        indices = pc.fill_null(pc.index_in(values, value_set=known, skip_nulls=True), -1)
        return np.asarray(indices).astype(np.int32) + 1

    def scaled(self, block: str, raw: Doubles) -> Floats:
        """Standardize and clip a block's raw numbers to (N, columns) float32; NaN (missing) becomes 0."""
        mean, deviation = self.scales[block]
        scaled = raw - mean
        scaled /= deviation
        np.clip(scaled, -self.config.limit, self.config.limit, out=scaled)
        np.copyto(scaled, 0.0, where=np.isnan(scaled))
        return scaled.astype(np.float32, order="C")

    @cached_property
    def digest(self) -> str:
        """Hash of the whole space, 12 hex digits: spaces with equal digests build equal features."""
        digest = hashlib.sha256(repr((self.config.model_dump_json(), self.columns, self.encoder)).encode())
        for name, values in sorted(self.vocabularies.items()):
            digest.update(repr((name, values)).encode())
        if self.released is not None:
            digest.update(repr(self.released.video_ids).encode())
        for name, array in sorted(self._arrays().items()):
            digest.update(
                f"{name}{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes()
            )
        return digest.hexdigest()[:12]

    def store(self) -> tuple[dict[str, Any], Arrays, dict[str, pa.Table]]:
        """Return a JSON record, arrays and tables for `restore`; arrays and tables are named `space_…`."""
        record = {
            "config": self.config.model_dump(mode="json"),
            "columns": list(self.columns),
            "encoder": self.encoder,
            "digest": self.digest,
        }
        pairs = [(name, value) for name in VOCABULARIES for value in self.vocabularies[name]]
        names, values = zip(*pairs, strict=True) if pairs else ((), ())
        table = pa.table({"field": pa.array(names, pa.string()), "value": pa.array(values, pa.string())})
        tables = {"space_vocabulary": table}
        if self.released is not None:
            tables["space_released"] = pa.table({"video_id": pa.array(self.released.video_ids, pa.string())})
        return record, self._arrays(), tables

    @classmethod
    def restore(cls, record: Mapping[str, Any], arrays: Arrays, tables: Mapping[str, pa.Table]) -> Self:
        """Rebuild the space from the results of `store`; other arrays and tables are ignored.

        Raises:
            ModelError: the feature columns differ from those of this version (the message names them), or
                something is missing or was changed.
        """
        _check_columns([str(name) for name in record.get("columns", ())])
        try:
            pairs = tables["space_vocabulary"].to_pylist()
            space = cls(
                config=RankerFeaturesConfig.model_validate(record["config"]),
                vocabularies={n: tuple(p["value"] for p in pairs if p["field"] == n) for n in VOCABULARIES},
                shares={name: arrays[f"space_shares_{name}"] for name in SHARES},
                priors=arrays["space_priors"],
                user_priors=arrays["space_user_priors"],
                seconds=arrays["space_seconds"],
                scales={block: arrays[f"space_scale_{block}"] for block in BLOCKS},
                encoder=record["encoder"],
                mean=arrays["space_mean"],
                released=_released(arrays, tables),
            )
        except (KeyError, ValidationError) as error:
            raise ModelError(
                f"the feature space of the ranker is incomplete: {error}",
                fix="train the ranker again, or copy its folder again",
            ) from None
        if space.digest != record.get("digest"):
            raise ModelError(
                f"the feature space of the ranker was changed: digest {space.digest}, "
                f"want {record.get('digest')}",
                fix="train the ranker again, or copy its folder again",
            )
        return space

    def _arrays(self) -> Arrays:
        arrays: Arrays = {
            "space_priors": self.priors,
            "space_user_priors": self.user_priors,
            "space_seconds": self.seconds,
            "space_mean": self.mean,
        }
        arrays |= {f"space_shares_{name}": array for name, array in self.shares.items()}
        if self.released is not None:
            arrays["space_released_counts"] = self.released.counts
        return arrays | {f"space_scale_{block}": array for block, array in self.scales.items()}


def _released(arrays: Arrays, tables: Mapping[str, pa.Table]) -> ReleasedCounts | None:
    if "space_released" not in tables:
        return None
    ids = tables["space_released"].column("video_id").to_pylist()
    return ReleasedCounts(tuple(ids), arrays["space_released_counts"])


def _check_columns(stored: list[str]) -> None:
    if stored == list(COLUMNS):
        return
    removed = [name for name in stored if name not in COLUMNS]
    added = [name for name in COLUMNS if name not in stored]
    differences = [
        f"{verb} {', '.join(names)}" for verb, names in (("no longer has", removed), ("adds", added)) if names
    ]
    summary = "; ".join(differences) or "has them in another order"
    raise ModelError(
        f"the ranker was trained on other features than this version makes, which {summary}",
        fix="train the ranker again with this version",
    )
