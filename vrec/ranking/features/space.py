"""The feature space: what was learned of the training part so that anything can be made into features."""

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
from vrec.ranking.features.video_counts import RATES, USER_RATES, Doubles

FIELDS = ("video_id", "creator_id", "category", "kind", "domain", "language")
"""Fields of a video that have a vocabulary; tags have one too."""
CONTEXT = ("surface", "hour", "weekday")
"""Fields of a request; hours and weekdays (from Monday) are UTC and have a place each."""
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
"""The numbers of each block in order. One that is missing is 0 once scaled, the training part's mean, and an
indicator says so: `no_…` is 1 where it is missing, `liked` is 0."""
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
    """How requests are made into features."""

    history: int = Field(default=50, ge=1)
    """Videos of the history that a ranker sees, the newest; more than the profiles keep are never there."""
    tags: int = Field(default=8, ge=1)
    """Tags of a video that count, the first in its list that are known."""
    min_count: int = Field(default=5, ge=1)
    """Impressions in the training part from which an id, category or tag has a place of its own; what is
    rarer shares the place of the unknown, which so is trained too."""
    positions: int = Field(default=50, ge=1)
    """Slots that have a place of their own; those further down share the last."""
    affinity_strength: float = Field(default=5.0, gt=0)
    """Events of interest that a shopper must have for their own share of a category or creator to weigh as
    much as its share of all impressions."""
    watch_strength: float = Field(default=10.0, gt=0)
    """Watches that a video or shopper must have for their own mean seconds to weigh as much as everyone's."""
    limit: float = Field(default=8.0, gt=0)
    """Standard deviations from the mean beyond which a number is cut off."""


@dataclass(frozen=True, eq=False)
class FeatureSpace:
    """Vocabularies, priors and scales of a training part; `fit_space` makes it."""

    config: RankerFeaturesConfig
    vocabularies: Mapping[str, tuple[str, ...]]
    """Of each of VOCABULARIES its values; the first has place 1, and 0 is the unknown."""
    shares: Mapping[str, Doubles]
    """Of each of SHARES the (places,) share of impressions that each place has, above 0."""
    priors: Doubles
    """(len(RATES), 2) rate and strength of videos' rates."""
    user_priors: Doubles
    """(len(USER_RATES), 2) the same of shoppers'."""
    seconds: Doubles
    """(2,) mean seconds of a watch, of videos and of shoppers."""
    scales: Mapping[str, Doubles]
    """Of each block the (2, columns) mean and standard deviation; 0 and 1 of indicators."""
    encoder: str | None
    """The encoder of the content vectors; None where there were none."""
    mean: Floats
    """(dim,) the mean content vector, which is subtracted from all."""

    @property
    def dim(self) -> int:
        """Length of the content vectors, 0 for none."""
        return len(self.mean)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all features in their order."""
        return COLUMNS

    @property
    def shape(self) -> FeatureShape:
        """The sizes that a network must have."""
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
        """The place of each surface."""
        return {name: place for place, name in enumerate(self.vocabularies["surface"], start=1)}

    def places(self, field: str, values: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.int32]:
        """(N,) places of values in a vocabulary, 0 for null and the unknown."""
        known = pa.array(self.vocabularies[field], pa.string())
        found = pc.fill_null(pc.index_in(values, value_set=known, skip_nulls=True), -1)
        return np.asarray(found).astype(np.int32) + 1

    def scaled(self, block: str, raw: Doubles) -> Floats:
        """(N, columns) float32 of a block's raw numbers; NaN, which says missing, becomes 0."""
        mean, deviation = self.scales[block]
        limit = self.config.limit
        return np.nan_to_num(np.clip((raw - mean) / deviation, -limit, limit), nan=0.0).astype(np.float32)

    @cached_property
    def digest(self) -> str:
        """12 hex digits of all that the space is made of: spaces with the same make the same features."""
        found = hashlib.sha256(repr((self.config.model_dump_json(), self.columns, self.encoder)).encode())
        for name, values in sorted(self.vocabularies.items()):
            found.update(repr((name, values)).encode())
        for name, array in sorted(self._arrays().items()):
            found.update(f"{name}{array.shape}{array.dtype}".encode() + np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:12]

    def store(self) -> tuple[dict[str, Any], Arrays, dict[str, pa.Table]]:
        """What an artefact must hold for `restore`: a JSON record, arrays and tables, named `space_…`."""
        record = {
            "config": self.config.model_dump(mode="json"),
            "columns": list(self.columns),
            "encoder": self.encoder,
            "digest": self.digest,
        }
        pairs = [(name, value) for name in VOCABULARIES for value in self.vocabularies[name]]
        names, values = zip(*pairs, strict=True) if pairs else ((), ())
        table = pa.table({"field": pa.array(names, pa.string()), "value": pa.array(values, pa.string())})
        return record, self._arrays(), {"space_vocabulary": table}

    @classmethod
    def restore(cls, record: Mapping[str, Any], arrays: Arrays, tables: Mapping[str, pa.Table]) -> Self:
        """The space that `store` gave; arrays and tables of others beside its own are passed over.

        Raises ModelError where the features are not those that this version makes, naming the columns that
        differ, and where something is missing or was changed.
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
            )
        except (KeyError, ValidationError) as error:
            raise ModelError(f"the ranker's feature space is incomplete: {error}") from None
        if space.digest != record.get("digest"):
            raise ModelError(
                f"the ranker's feature space was changed: digest {space.digest}, want {record.get('digest')}"
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
        return arrays | {f"space_scale_{block}": array for block, array in self.scales.items()}


def _check_columns(stored: list[str]) -> None:
    if stored == list(COLUMNS):
        return
    gone = [name for name in stored if name not in COLUMNS]
    new = [name for name in COLUMNS if name not in stored]
    wrong = [
        f"{what} {', '.join(names)}" for what, names in (("no longer has", gone), ("adds", new)) if names
    ]
    said = "; ".join(wrong) or "has them in another order"
    raise ModelError(
        f"the ranker was trained on other features than this version makes, which {said}",
        fix="train the ranker again with this version",
    )
