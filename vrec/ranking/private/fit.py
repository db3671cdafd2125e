"""Fit of a network ranker with differential privacy of each shopper.

Whatever depends on more than one shopper is a noised count of videos or a noised sum of gradients: the
vocabularies, shares and scales are those of the public catalog and of these counts, or fixed. There are no
calibrators, no uncertainty, no first pass, no validation and no test. Counts of videos that requests bring
when serving give way to the noised ones.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from scipy.special import logit
from torch import nn

from vrec.core.errors import ConfigError, RankError
from vrec.core.schema import EVENTS, conform
from vrec.core.types import CatalogContent
from vrec.privacy.accounting import (
    MechanismCost,
    check_private,
    gaussian_multiplier,
    split_multiplier,
    training_multiplier,
)
from vrec.privacy.noise import NormalSource, system_normals
from vrec.privacy.sampled_sums import SampledSum
from vrec.profiles.update import ProfilesConfig, video_metadata
from vrec.ranking.config import RankerConfig
from vrec.ranking.features.arrays import (
    ImpressionLabels,
    RankingFeatures,
    RankingRequest,
    concatenate_features,
)
from vrec.ranking.features.builder import FeatureBuilder
from vrec.ranking.features.catalog import CatalogFeatures
from vrec.ranking.features.space import FeatureSpace
from vrec.ranking.features.video_counts import VIDEO_COUNT_KEYS
from vrec.ranking.labels import build_labels
from vrec.ranking.network_ranker import NetworkRanker, build_untrained
from vrec.ranking.networks.multitask import TaskHeads
from vrec.ranking.networks.network import RankerNetwork
from vrec.ranking.private.config import PrivateRankerConfig
from vrec.ranking.private.counts import NoisedCounts
from vrec.ranking.private.gradients import ShopperGradients
from vrec.ranking.private.space import catalog_ids, private_space
from vrec.ranking.replay import VIDEO_COUNTS, impressions, replay_requests
from vrec.training.device import torch_device

BLOCK = 4096
"""Requests whose features are built at once."""


def private_ranker_costs(
    private: PrivateRankerConfig, epsilon: float, delta: float
) -> tuple[MechanismCost, MechanismCost]:
    """Return the mechanisms of a private ranker, which together spend at most ε: counts, then training.

    Raises:
        FitError: ε or δ is out of range.
    """
    check_private(epsilon, delta)
    counts = MechanismCost(split_multiplier(gaussian_multiplier(epsilon, delta), private.count_share))
    steps, sampling = private.steps, private.sampling
    multiplier = training_multiplier(epsilon, delta, sampling, steps, [counts])
    return counts, MechanismCost(multiplier, sampling, steps)


def check_private_ranker(config: RankerConfig) -> None:
    """Check that a ranker has no head that cannot be trained privately.

    Raises:
        ConfigError: It has one.
    """
    named = () if config.heads.heads == "auto" else config.heads.heads
    others = [head for head in named if head != "click"]
    if others:
        raise ConfigError(
            f"the head {' and '.join(others)} of a ranker has no private form: its targets are read from the "
            "events without noise",
            fix="set train.ranker.heads.heads to click, or leave it out",
        )


def fit_private_ranker(
    config: RankerConfig,
    private: PrivateRankerConfig,
    costs: tuple[MechanismCost, MechanismCost],
    *,
    events: pa.Table,
    content: CatalogContent,
    profiles: ProfilesConfig,
    normals: NormalSource = system_normals,
) -> NetworkRanker:
    """Fit a ranker on the impressions of a log, all of which are trained on.

    Args:
        config: Settings of features, labels and utility; network and heads are those of `private`.
        private: Settings of the training.
        costs: Result of `private_ranker_costs`, charged before.
        events: EVENTS.
        content: VIDEOS and EMBEDDINGS, which count as public.
        profiles: Settings of profiles.
        normals: Source of the noise and of the sample of shoppers.

    Raises:
        ConfigError: a head has no private form.
        RankError: there are no impressions or no videos, or training diverged.
        SchemaError, EventsError: a table is not valid.
    """
    check_private_ranker(config)
    catalog_ids(content)
    log = ImpressionLog.from_events(events, content, config, profiles)
    return fit_on_log(log, config, private, costs, content=content, normals=normals)


def fit_on_log(
    log: "ImpressionLog",
    config: RankerConfig,
    private: PrivateRankerConfig,
    costs: tuple[MechanismCost, MechanismCost],
    *,
    content: CatalogContent,
    normals: NormalSource = system_normals,
) -> NetworkRanker:
    """Fit like `fit_private_ranker`, on a log that has been replayed."""
    heads = config.heads.model_copy(update={"heads": ("click",)})
    config = config.model_copy(update={"network": private.network, "heads": heads})
    counted, trained = costs
    counts = NoisedCounts.release(
        log.shopper,
        log.videos,
        log.labels,
        catalog_ids(content),
        impressions=private.impressions,
        multiplier=counted.noise_multiplier,
        normals=normals,
    )
    space = private_space(content, config.features, private.surfaces, counts.released(), counts.prior)
    features = log.features(space, content, counts)
    network, _ = build_untrained(config, space.shape, log.labels)
    _start_at(network, float(logit(counts.prior.rate)))
    gradients = ShopperGradients(
        network,
        features,
        log.labels,
        log.shopper,
        examples=private.examples,
        device=torch_device(config.training.device),
    )
    step = SampledSum(trained.sampling_probability, private.clip, trained.noise_multiplier)
    train_privately(
        gradients,
        step,
        steps=trained.steps,
        batch=trained.sampling_probability * counts.shoppers,
        learning_rate=private.learning_rate,
        normals=normals,
    )
    return NetworkRanker(config, space, content, network, None, calibrators={}, factor=None)


def train_privately(
    gradients: ShopperGradients,
    step: SampledSum,
    *,
    steps: int,
    batch: float,
    learning_rate: float,
    normals: NormalSource = system_normals,
) -> None:
    """Train a network in place by noised gradients; its weights become the mean of the later half of steps.

    The mean of the steps needs no further noise, and has less of it than the last one.

    Args:
        gradients: Gradients by shopper, and the network.
        step: Sampling, clipping and noise of a step.
        steps: Number of steps.
        batch: Expected number of sampled shoppers, by a number of shoppers that is public or noised. Dividing
            by the number that were sampled would tell who was.
        learning_rate: Step size of Adam.
        normals: Source of the noise and of the samples.

    Raises:
        RankError: A weight is not finite.
    """
    network = gradients.network
    optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate)
    mean, first = [torch.zeros_like(weight) for weight in network.parameters()], steps // 2
    for number in range(steps):
        noised = step.draw(len(gradients), gradients.width, gradients, normals)
        gradients.set_gradient(noised / batch)
        optimizer.step()
        if number >= first:
            pairs = zip(mean, network.parameters(), strict=True)
            mean = [total + weight.detach() / (steps - first) for total, weight in pairs]
    with torch.no_grad():
        for weight, total in zip(network.parameters(), mean, strict=True):
            weight.copy_(total)
            weight.grad = None
    if not all(bool(torch.isfinite(weight).all()) for weight in network.parameters()):
        raise RankError(
            "private training: a weight is not finite",
            fix=f"lower train.ranker.private.learning_rate, which is {learning_rate:g}",
        )


@dataclass(frozen=True, eq=False)
class ImpressionLog:
    """Impressions of a log, N rows; each depends on the events of its shopper alone."""

    requests: list[RankingRequest]
    """Their requests, whose counts of videos are all 0."""
    videos: pa.Array
    """(N,) ids of the videos."""
    labels: ImpressionLabels
    shopper: npt.NDArray[np.int64]
    """(N,) numbers of shoppers, from 0 without gaps."""

    @classmethod
    def from_events(
        cls, events: pa.Table, content: CatalogContent, config: RankerConfig, profiles: ProfilesConfig
    ) -> Self:
        """Replay EVENTS.

        Raises:
            RankError: There is no impression.
            SchemaError, EventsError: The events are not valid.
        """
        events = conform(events, EVENTS, stage="train")
        shown = impressions(events)
        if not shown.num_rows:
            raise RankError(
                f"train: none of {events.num_rows:,} events is an impression",
                fix="log impressions as events of that kind",
            )
        labels = build_labels(events, content.videos, config.labels)
        shopper = np.unique(labels.user, return_inverse=True)[1].reshape(-1)
        zeros = pa.array(np.zeros(shown.num_rows * len(VIDEO_COUNT_KEYS)))
        states = pa.FixedSizeListArray.from_arrays(zeros, len(VIDEO_COUNT_KEYS))
        ids, videos = (shown.column(name).combine_chunks() for name in ("event_id", "video_id"))
        counts = pa.Table.from_arrays([ids, states], schema=VIDEO_COUNTS)
        requests = list(replay_requests(events, counts, video_metadata(content), profiles))
        return cls(requests, videos, labels, shopper)

    def features(self, space: FeatureSpace, content: CatalogContent, counts: NoisedCounts) -> RankingFeatures:
        """Return the features of the impressions, each of which depends on its shopper and noised counts."""
        # Without released counts a builder takes those of the requests, less each shopper's own part here.
        plain = replace(space, released=None)
        builder = FeatureBuilder(plain, CatalogFeatures.from_content(content, plain))
        ends = np.cumsum([len(request.video_ids) for request in self.requests])
        states = np.split(counts.without_own(self.shopper, self.videos), ends[:-1])
        pairs = zip(self.requests, states, strict=True)
        requests = [replace(request, video_counts=state) for request, state in pairs]
        blocks = [builder.build(requests[at : at + BLOCK]) for at in range(0, len(requests), BLOCK)]
        return concatenate_features(blocks)


def _start_at(network: RankerNetwork, odds: float) -> None:
    """Set the bias of the click's last layer to the log-odds of a click, so that no step is spent on it."""
    heads = network.heads
    last = heads.last["click"] if isinstance(heads, TaskHeads) else heads.linear
    assert isinstance(last, nn.Linear)
    with torch.no_grad():
        last.bias.fill_(odds)
