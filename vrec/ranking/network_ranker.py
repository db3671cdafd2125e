"""Network ranker: a feature space, catalog features, weights and calibrators that belong together."""

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ValidationError
from scipy.special import expit
from torch import Tensor

from vrec.core.artifact import Arrays, ModelArtifact, read_artifact, write_artifact
from vrec.core.errors import ConfigError, ModelError, RankError
from vrec.core.types import CatalogContent
from vrec.ranking.base import ProfileRanker, VideoScalars, merge_content
from vrec.ranking.calibration import Calibrator, fit_calibrators
from vrec.ranking.config import RankerConfig
from vrec.ranking.example_parts import ExampleParts, Examples, as_parts, concatenate_labels
from vrec.ranking.features.arrays import (
    FeatureShape,
    Floats,
    ImpressionLabels,
    RankerPredictions,
    RankingFeatures,
    RankingRequest,
    concatenate_features,
    concatenate_predictions,
)
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.first_pass import MAX_ROWS, LinearFirstPass
from vrec.ranking.networks.config import (
    TaskName,
)
from vrec.ranking.networks.layers import to_batch, to_catalog_tensors
from vrec.ranking.networks.multitask import HeadOutputs
from vrec.ranking.networks.network import RankerNetwork
from vrec.ranking.networks.watch_heads import WatchHead, fit_watch_head, restore_watch_head
from vrec.ranking.uncertainty import LastLayerLaplace, click_logit_std
from vrec.training.device import seeded_rng, torch_device

RowIndices = npt.NDArray[np.int64]

BLOCK = 2048
"""Candidates scored at once, which bounds memory."""


def build_untrained(
    config: RankerConfig, shape: FeatureShape, labels: ImpressionLabels
) -> tuple[RankerNetwork, WatchHead | None]:
    """Build the network with its initial weights, and fit the watch head's targets on training labels.

    Equal arguments give equal weights.

    Returns:
        The network, and the watch head or None where the config has none.

    Raises:
        RankError: the labels have no watch time to learn.
    """
    head = None
    if "watch" in config.heads.tasks:
        head = fit_watch_head(config.watch, labels.watch_s, labels.duration_s)
    return build_network(config, shape, head), head


class NetworkRanker(ProfileRanker):
    """Ranker with a trained network: logistic regression, DCNv2 or DIN."""

    kind = "network"

    def __init__(
        self,
        config: RankerConfig,
        space: FeatureSpace,
        content: CatalogContent,
        network: RankerNetwork,
        head: WatchHead | None,
        *,
        calibrators: Mapping[str, Calibrator],
        factor: npt.NDArray[np.float64] | None,
        first_pass: LinearFirstPass | None = None,
    ) -> None:
        """Embed the videos of `content` for prediction.

        Args:
            config: Settings of the ranker.
            space: Feature space that the network was trained on.
            content: VIDEOS and EMBEDDINGS of the catalog.
            network: Trained network.
            head: Watch head, None without one.
            calibrators: Calibrators by head; a head without one gives raw predictions.
            factor: `LastLayerLaplace.factor()`; the spread is 0 without one.
            first_pass: Rough model of this ranker's predictions; None without one.

        Raises:
            RankError: the embeddings are of another encoder than the space's.
        """
        self.config, self.space, self.head, self.utility_config = config, space, head, config.utility
        self.calibrators, self.factor, self.first_pass = dict(calibrators), factor, first_pass
        self.metrics: dict[str, float] = {}
        """Test metrics, stored with the ranker on disk."""
        self.device = _device(config.training.device)
        self.network = network.to(self.device).eval()
        self._build_catalog(
            merge_content(CatalogContent(), content), CatalogFeatures.from_content(content, space)
        )

    @classmethod
    def from_training(
        cls,
        config: RankerConfig,
        space: FeatureSpace,
        content: CatalogContent,
        network: RankerNetwork,
        head: WatchHead | None,
        *,
        train: Examples | ExampleParts,
        valid: Examples | ExampleParts,
    ) -> Self:
        """Build the ranker of a trained network, which `build_untrained` made with its head.

        Calibrators are fitted on validation impressions, the Laplace approximation on training impressions,
        both at the logged positions, so that the effect of the position is not attributed to the videos.
        """
        train, valid = as_parts(train), as_parts(valid)
        raw = cls(config, space, content, network, head, calibrators={}, factor=None)
        judged = [(raw.predict(features, at_logged_positions=True), labels) for features, labels in valid]
        shown = concatenate_predictions([predictions for predictions, _ in judged])
        labels = concatenate_labels([labels for _, labels in judged])
        calibrators = fit_calibrators(config.calibration, config.heads.tasks, shown, labels)
        laplace = None
        for features, _ in train:
            laplace = raw.laplace(features, laplace)
        factor = None if laplace is None else laplace.factor()
        ranker = cls(config, space, content, network, head, calibrators=calibrators, factor=factor)
        ranker.first_pass = ranker.fit_first_pass(_evenly_spaced(train, MAX_ROWS))
        return ranker

    @property
    def name(self) -> str:
        """Kind of the network, such as "din"."""
        return self.config.network.kind

    @property
    def builder(self) -> FeatureBuilder:
        """Feature builder for this ranker's feature space and videos."""
        return FeatureBuilder(self.space, self.catalog)

    def predict(self, features: RankingFeatures, *, at_logged_positions: bool = False) -> RankerPredictions:
        """Predict for N candidates whose features this ranker's `builder` made.

        Args:
            features: Features of the candidates.
            at_logged_positions: Predict for the slots named in the features, for comparison with logged
                outcomes; by default for the first slot, for ranking.

        Raises:
            RankError: the features are of another feature space or catalog.
        """
        if features.shape != self.space.shape or len(features.catalog.fields) > len(self.items):
            raise RankError(
                f"{self.name}: the features are of another feature space or catalog",
                fix="build the features with the builder of this ranker",
            )
        durations = self.durations[features.video]
        parts = [
            self._to_predictions(outputs, durations[rows])
            for outputs, rows in self._outputs(features, at_logged_positions=at_logged_positions)
        ]
        if not parts:
            return RankerPredictions(*(np.zeros(0, np.float32) for _ in range(4)))
        return concatenate_predictions([RankerPredictions(*part) for part in parts])

    def laplace(
        self, features: RankingFeatures, laplace: LastLayerLaplace | None = None
    ) -> LastLayerLaplace | None:
        """Return the Laplace approximation for training candidates at logged positions; None without any.

        With `laplace`, that of earlier candidates, these are added to it.
        """
        for outputs, _ in self._outputs(features, at_logged_positions=True):
            inputs = _numpy(outputs.last)
            laplace = laplace or LastLayerLaplace(inputs.shape[1], self.config.laplace)
            laplace.add(inputs, expit(_numpy(outputs.click)))
        return laplace

    def fit_first_pass(self, features: RankingFeatures) -> LinearFirstPass | None:
        """Return a first pass fitted to this ranker's predictions; None without candidates."""
        if not len(features):
            return None
        some = features.take(np.arange(0, len(features), -(-len(features) // MAX_ROWS)))
        return LinearFirstPass.fit(some, self._items_of(some), self.predict(some))

    def predict_roughly(self, features: RankingFeatures) -> RankerPredictions | None:
        """Predict as `predict` does, but by the first pass alone; None for a ranker without one."""
        return (
            None if self.first_pass is None else self.first_pass.predict(features, self._items_of(features))
        )

    def predict_requests(self, requests: Sequence[RankingRequest]) -> RankerPredictions:
        """Predict from requests; see `ProfileRanker`."""
        return self.predict(self.builder.build(requests))

    def with_videos(self, content: CatalogContent) -> Self:
        """Return a copy of the ranker with the videos of `content` added or updated, without training.

        A new video is represented by its creator, tags, numbers and vector, but not by its id.

        Raises:
            RankError: the embeddings are of another encoder.
            SchemaError: a table of `content` has other columns.
        """
        other = copy(self)
        other._build_catalog(merge_content(self.content, content), self.catalog.with_videos(content))
        return other

    def restricted_to(self, video_ids: Sequence[str], newer: ProfileRanker | None = None) -> Self:
        """Return a copy that knows only some videos; see `ProfileRanker`."""
        other, newer = copy(self), self._check_same_kind(newer)
        over = None if newer is None else newer.catalog
        other.content, other.catalog = CatalogContent(), self.catalog.restricted_to(video_ids, over)
        ids = list(other.catalog.rows)
        other.scalars = self.scalars.restricted_to(ids, None if newer is None else newer.scalars)
        other.durations = np.append(np.float32(np.nan), other.scalars.duration_s[:-1])
        other.items = self.items[np.append(0, self.catalog.find(ids))]
        if newer is not None and over is not None:
            theirs = torch.from_numpy(np.append(0, over.find(ids))).to(self.device)
            other.items = torch.where(theirs[:, None] > 0, newer.items[theirs], other.items)
        return other

    def save(self, uri: str) -> None:
        """Write the fitted ranker as a folder; see `Ranker`."""
        record, arrays, tables = self.space.store()
        parts = {f"calibrator.{name}": one.arrays() for name, one in self.calibrators.items()}
        parts["weights"] = {name: _numpy(tensor) for name, tensor in self.network.state_dict().items()}
        parts["watch"] = {} if self.head is None else self.head.arrays()
        parts["laplace"] = {} if self.factor is None else {"factor": self.factor}
        parts["first_pass"] = {} if self.first_pass is None else {"weights": self.first_pass.weights}
        arrays |= {f"{part}.{name}": array for part, group in parts.items() for name, array in group.items()}
        content = {"videos": self.content.videos, "embeddings": self.content.embeddings}
        tables |= {name: table for name, table in content.items() if table is not None}
        data = {"space": record, "calibrated": sorted(self.calibrators), "videos": len(self.catalog) - 1}
        config = self.config.model_dump(mode="json")
        metrics = self.metrics if self.promise is None else {**self.metrics, "privacy": self.promise}
        write_artifact(
            uri, ModelArtifact(self.kind, config, dict(arrays), tables, data=data, metrics=metrics)
        )

    @classmethod
    def load(cls, uri: str) -> Self:
        """Load the ranker that `save` wrote; see `Ranker`.

        Raises:
            ModelError: the folder is not a complete ranker, or was trained on other features than this
                version makes.
        """
        artifact = read_artifact(uri, cls.kind)
        try:
            config = RankerConfig.model_validate(artifact.config)
            space = FeatureSpace.restore(artifact.data["space"], artifact.arrays, artifact.tables)
            head = None
            if "watch" in config.heads.tasks:
                head = restore_watch_head(config.watch, _arrays_of(artifact.arrays, "watch"))
            network = build_network(config, space.shape, head)
            weights = _arrays_of(artifact.arrays, "weights")
            network.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
            names: list[str] = artifact.data["calibrated"]
            calibrators = {
                n: Calibrator.restore(_arrays_of(artifact.arrays, f"calibrator.{n}")) for n in names
            }
        except (ValidationError, KeyError, RuntimeError) as error:
            # torch raises RuntimeError for weights that do not fit.
            raise ModelError(
                f"{uri} is a ranker of another version: {error}",
                fix="train the ranker again with this version",
            ) from None
        content = CatalogContent(artifact.tables.get("videos"), artifact.tables.get("embeddings"))
        factor, rough = (artifact.arrays.get(name) for name in ("laplace.factor", "first_pass.weights"))
        first_pass = None if rough is None else LinearFirstPass(rough)
        ranker = cls(
            config, space, content, network, head,
            calibrators=calibrators, factor=factor, first_pass=first_pass,
        )  # fmt: skip
        ranker.metrics = dict(artifact.metrics)
        ranker.promise = artifact.metrics.get("privacy")
        ranker.metrics.pop("privacy", None)
        return ranker

    def _items_of(self, features: RankingFeatures) -> Floats:
        """Return the (N, d) embedded videos of candidates."""
        return _numpy(self.items[torch.from_numpy(features.video).to(self.device).long()])

    def _build_catalog(self, content: CatalogContent, catalog: CatalogFeatures) -> None:
        """Set everything that depends on the videos."""
        self.content, self.catalog, self.scalars = content, catalog, VideoScalars.from_content(content)
        self.durations: Floats = np.full(len(catalog), np.nan, np.float32)
        rows = self.scalars.find(list(catalog.rows))
        self.durations[list(catalog.rows.values())] = self.scalars.duration_s[rows]
        self.items = self.network.items(to_catalog_tensors(catalog.arrays, self.device))

    @torch.inference_mode()
    def _outputs(
        self, features: RankingFeatures, *, at_logged_positions: bool
    ) -> Iterator[tuple[HeadOutputs, RowIndices]]:
        """Yield the network's outputs for successive blocks of candidates, with their rows."""
        catalog = to_catalog_tensors(features.catalog, self.device) if at_logged_positions else None
        for start in range(0, len(features), BLOCK):
            rows = np.arange(start, min(start + BLOCK, len(features)))
            batch = to_batch(features if len(rows) == len(features) else features.take(rows), self.device)
            if catalog is None:
                yield self.network.score(batch, self.items), rows
            else:
                yield self.network(batch, catalog), rows

    def _to_predictions(
        self, outputs: HeadOutputs, durations: Floats
    ) -> tuple[Floats, Floats, Floats, Floats]:
        """Return p_click, watch_s, p_conv and spread, each (B,) float32."""
        raw = expit(_numpy(outputs.click).astype(np.float64))
        p_click = self._calibrated("click", raw)
        watch_s, p_conv, spread = (np.zeros(len(raw), np.float32) for _ in range(3))
        if outputs.watch is not None and self.head is not None:
            watch_s = self._calibrated("watch", self.head.seconds(_numpy(outputs.watch), durations))
        if outputs.conversion is not None:
            both = raw * expit(_numpy(outputs.conversion).astype(np.float64))
            # The two calibrators can disagree slightly.
            p_conv = np.minimum(self._calibrated("conversion", both), p_click)
        if self.factor is not None:
            spread = click_logit_std(_numpy(outputs.last), self.factor)
        return p_click, watch_s, p_conv, spread

    def _calibrated(self, head: TaskName, values: npt.NDArray[np.floating]) -> Floats:
        single = values.astype(np.float32)
        return self.calibrators[head].apply(single) if head in self.calibrators else single


def build_network(config: RankerConfig, shape: FeatureShape, head: WatchHead | None) -> RankerNetwork:
    """Build the network with its initial weights; equal arguments give equal weights."""
    with seeded_rng(config.training.seed):
        return RankerNetwork(shape, config.network, config.heads, 0 if head is None else head.width)


def _evenly_spaced(parts: ExampleParts, most: int) -> RankingFeatures:
    """Return the features of at most so many candidates of all parts, evenly spaced."""
    step, begin = max(1, -(-sum(parts.sizes) // most)), 0
    taken: list[RankingFeatures] = []
    for features, _ in parts:
        taken.append(features.take(np.arange(-begin % step, len(features), step)))
        begin += len(features)
    return concatenate_features(taken)


def _device(name: str) -> torch.device:
    try:
        return torch_device(name)
    except ConfigError:
        # A ranker trained on a GPU must also load on a machine without one.
        return torch_device("auto")


def _arrays_of(arrays: Arrays, part: str) -> Arrays:
    prefix = f"{part}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _numpy(tensor: Tensor) -> npt.NDArray[Any]:
    return tensor.detach().cpu().numpy()
