"""What networks learn from, on their device: batches of it cost an index each."""

import numpy as np
import numpy.typing as npt
import torch

from vrec.core.errors import RankError
from vrec.ranking.features.arrays import ImpressionLabels, RankingFeatures
from vrec.ranking.networks.layers import RankingBatch, to_batch
from vrec.ranking.networks.multitask import LabelTensors, RankerHeadsConfig
from vrec.ranking.networks.watch_heads import WatchHead


class DeviceExamples:
    """Features and labels on a device."""

    def __init__(
        self,
        features: RankingFeatures,
        labels: ImpressionLabels,
        head: WatchHead | None,
        device: torch.device,
    ) -> None:
        """`head` gives the watch's targets, None without that head; raises RankError for other lengths."""
        if len(features) != len(labels):
            raise RankError(f"training: {len(labels):,} labels for {len(features):,} impressions")
        self.features = to_batch(features, device)
        watch = None if head is None else torch.from_numpy(head.targets(labels.watch_s, labels.duration_s))
        self.labels = LabelTensors(
            torch.from_numpy(labels.click).to(device),
            torch.from_numpy(labels.conversion).to(device),
            torch.from_numpy(labels.mature).to(device),
            None if watch is None else watch.to(device),
        )
        self.device = device

    def __len__(self) -> int:
        return len(self.features.video)

    def take(self, rows: npt.NDArray[np.int64]) -> tuple[RankingBatch, LabelTensors]:
        """The batch of (B,) rows. Each has a request of its own: finding those they share costs more."""
        chosen = torch.from_numpy(rows).to(self.device)
        f = self.features
        asked = f.request.index_select(0, chosen)
        candidates = (part.index_select(0, chosen) for part in (f.video, f.candidate, f.position))
        requests = (part.index_select(0, asked) for part in (f.context, f.user, f.history, f.history_dense))
        request = torch.arange(len(rows), dtype=torch.int32, device=self.device)
        labels = (None if part is None else part.index_select(0, chosen) for part in self.labels)
        return RankingBatch(request, *candidates, *requests), LabelTensors(*labels)  # type: ignore[arg-type]


def check_trainable(heads: RankerHeadsConfig, labels: ImpressionLabels, part: str) -> None:
    """Raises RankError where a head has nothing to learn or be judged by: all or none clicked, or converted.

    `part` names the impressions in the message.
    """
    _check_both_outcomes(labels.click > 0, part, "impressions", "clicked")
    if "conversion" in heads.heads:
        _check_both_outcomes(labels.conversion[labels.mature] > 0, part, "mature impressions", "converted")


def heads_without_validation(heads: RankerHeadsConfig, labels: ImpressionLabels) -> dict[str, str]:
    """Of each head but the click's that a validation part cannot judge, why; none where it can judge all.

    Raises RankError where all impressions were clicked, or none.
    """
    _check_both_outcomes(labels.click > 0, "validation", "impressions", "clicked")
    try:
        check_trainable(heads, labels, "validation")
    except RankError as reason:
        return {"conversion": f"trained, but of no say in when to stop: {reason}"}
    return {}


def _check_both_outcomes(happened: npt.NDArray[np.bool_], part: str, rows: str, what: str) -> None:
    number = int(happened.sum())
    if number in (0, len(happened)):
        raise RankError(
            f"{part}: {number:,} of {len(happened):,} {rows} are {what}: there is nothing to tell apart",
            fix="give more events, or shorten labels.conversion_window_hours if too few are mature, "
            "or leave the head out of heads",
        )
