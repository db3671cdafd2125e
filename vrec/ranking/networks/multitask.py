"""Multitask heads for clicks, watch time and conversions, and their losses."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vrec.ranking.networks.config import RankerHeadsConfig
from vrec.ranking.networks.layers import Mlp


class HeadOutputs(NamedTuple):
    """Outputs of a network for N candidates."""

    click: Tensor
    """(N,) logits of a click."""
    conversion: Tensor | None
    """(N,) logits of a conversion after a click."""
    watch: Tensor | None
    """(N, width) raw outputs for the watch head."""
    last: Tensor
    """(N, h) inputs of the click's last layer, which is linear."""


class TaskHeads(nn.Module):
    """Heads from (N, inputs) to HeadOutputs: a tower per head, over mixtures of experts for several heads.

    The mixtures are multi-gate mixtures of experts (MMoE: Ma, Zhao, Yi, Chen, Hong & Chi, KDD 2018).
    """

    def __init__(self, inputs: int, config: RankerHeadsConfig, watch_width: int) -> None:
        super().__init__()
        sizes = config.outputs(watch_width)
        self.mixtures = (
            ExpertMixtures(inputs, len(sizes), config.experts, config.expert_width)
            if len(sizes) > 1
            else None
        )
        below = inputs if self.mixtures is None else self.mixtures.width
        self.towers = nn.ModuleDict({head: Mlp(below, config.tower) for head in sizes})
        above = config.tower[-1] if config.tower else below
        self.last = nn.ModuleDict({head: nn.Linear(above, size) for head, size in sizes.items()})

    def forward(self, x: Tensor) -> HeadOutputs:
        mixed = [x] if self.mixtures is None else self.mixtures(x).unbind(dim=1)
        hidden = {head: tower(mix) for (head, tower), mix in zip(self.towers.items(), mixed, strict=True)}
        out = {head: self.last[head](hidden[head]) for head in hidden}
        conversion, watch = out.get("conversion"), out.get("watch")
        return HeadOutputs(
            out["click"][:, 0], None if conversion is None else conversion[:, 0], watch, hidden["click"]
        )


class ExpertMixtures(nn.Module):
    """Mixtures from (N, inputs) to (N, tasks, width): per task a mean of the experts by a softmax gate."""

    def __init__(self, inputs: int, tasks: int, experts: int, width: int) -> None:
        super().__init__()
        self.experts = nn.Linear(inputs, experts * width)
        self.gates = nn.Linear(inputs, tasks * experts, bias=False)
        self.tasks, self.width = tasks, width

    def forward(self, x: Tensor) -> Tensor:
        outputs = torch.relu(self.experts(x)).view(len(x), -1, self.width)  # (N, experts, width)
        weights = self.gates(x).view(len(x), self.tasks, -1).softmax(dim=2)  # (N, tasks, experts)
        return torch.bmm(weights, outputs)


class LabelTensors(NamedTuple):
    """Labels on the device of the outputs."""

    click: Tensor
    """(N,) float32, 1 for a click."""
    conversion: Tensor
    """(N,) float32, 1 for a click that ended in a conversion."""
    mature: Tensor
    """(N,) bool, whether the conversion window is over."""
    watch: Tensor | None
    """(N, T) float32, targets of the watch head."""


def multitask_losses(
    outputs: HeadOutputs,
    labels: LabelTensors,
    config: RankerHeadsConfig,
    watch_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the scalar losses by head, and their weighted sum as `total`.

    Click and conversion losses are in nats, means over impressions. Conversions are learned on all mature
    impressions as the joint event of click and conversion (ESMM: Ma, Zhao, Huang, Wang, Hu, Zhu & Gai, SIGIR
    2018), so that the probability after a click is also right for videos that are seldom clicked.

    Args:
        outputs: Outputs of the network.
        labels: Labels of the same rows.
        config: Loss weights.
        watch_loss: Loss of the watch head, of raw outputs and targets.
    """
    losses = {"click": functional.binary_cross_entropy_with_logits(outputs.click, labels.click)}
    total = losses["click"]
    if outputs.conversion is not None:
        each = joint_conversion_loss(outputs.click, outputs.conversion, labels.conversion)
        mature = labels.mature.to(each.dtype)
        losses["conversion"] = (each * mature).sum() / mature.sum().clamp(min=1)
        total = total + config.conversion_weight * losses["conversion"]
    if outputs.watch is not None and labels.watch is not None and watch_loss is not None:
        losses["watch"] = watch_loss(outputs.watch, labels.watch)
        total = total + config.watch_weight * losses["watch"]
    return losses | {"total": total}


def joint_conversion_loss(click: Tensor, conversion: Tensor, happened: Tensor) -> Tensor:
    """Return (N,) negative log-likelihoods of click and conversion jointly, from (N,) logits.

    `happened` is 1 where both events happened, else 0.
    """
    log_click, log_no_click = functional.logsigmoid(click), functional.logsigmoid(-click)
    log_both = log_click + functional.logsigmoid(conversion)
    # 1 − p q as (1 − p) + p (1 − q): without subtraction nothing cancels where p q is near 1.
    log_not = torch.logaddexp(log_no_click, log_click + functional.logsigmoid(-conversion))
    return -(happened * log_both + (1 - happened) * log_not)
