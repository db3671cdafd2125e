"""Several answers from one network: clicks, watch time and conversions, and the losses that teach them."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional

from vrec.core.config import BaseConfig
from vrec.ranking.networks.layers import Mlp

TaskName = Literal["click", "watch", "conversion"]
Width = Annotated[int, Field(ge=1)]


class RankerHeadsConfig(BaseConfig):
    """What the network answers, and how much of it the answers share."""

    heads: tuple[TaskName, ...] = ("click", "watch", "conversion")
    """The answers: `click` always, `watch` for seconds, `conversion` for the chance of one after a click."""
    experts: int = Field(default=3, ge=1)
    """Networks that all heads share, each head in a mixture of its own; of no effect with one head."""
    expert_width: int = Field(default=64, ge=1)
    """Width of an expert's one layer."""
    tower: tuple[Width, ...] = (32,)
    """Widths of the layers that a head has to itself."""
    watch_weight: float = Field(default=1.0, gt=0)
    """Weight of the watch head's loss; the click's is 1."""
    conversion_weight: float = Field(default=1.0, gt=0)
    """Weight of the loss of a click that ends in a conversion; the click's is 1."""

    @field_validator("heads")
    @classmethod
    def _check_heads(cls, heads: tuple[TaskName, ...]) -> tuple[TaskName, ...]:
        if "click" not in heads or len(set(heads)) < len(heads):
            raise ValueError(f"heads are {', '.join(heads)}: want click, and each at most once")
        return heads

    def outputs(self, watch_width: int) -> dict[TaskName, int]:
        """The number of outputs of each head, click first."""
        sizes: dict[TaskName, int] = {"click": 1, "conversion": 1, "watch": watch_width}
        return {head: size for head, size in sizes.items() if head in self.heads}


class HeadOutputs(NamedTuple):
    """What a network says of N candidates."""

    click: Tensor
    """(N,) logits of a click."""
    conversion: Tensor | None
    """(N,) logits of a conversion after a click."""
    watch: Tensor | None
    """(N, width) what the watch head reads seconds from."""
    last: Tensor
    """(N, h) what the click's last layer, which is linear, sees."""


class TaskHeads(nn.Module):
    """(N, inputs) → Outputs: a tower for each head, over mixtures of shared experts where there are several.

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
    """(N, inputs) → (N, tasks, width): for each task a mean of the experts, weighted by a softmax gate."""

    def __init__(self, inputs: int, tasks: int, experts: int, width: int) -> None:
        super().__init__()
        self.experts = nn.Linear(inputs, experts * width)
        self.gates = nn.Linear(inputs, tasks * experts, bias=False)
        self.tasks, self.width = tasks, width

    def forward(self, x: Tensor) -> Tensor:
        found = torch.relu(self.experts(x)).view(len(x), -1, self.width)  # (N, experts, width)
        weights = self.gates(x).view(len(x), self.tasks, -1).softmax(dim=2)  # (N, tasks, experts)
        return torch.bmm(weights, found)


class LabelTensors(NamedTuple):
    """Labels on the device of the outputs that they judge."""

    click: Tensor
    """(N,) float32, 1 for a click."""
    conversion: Tensor
    """(N,) float32, 1 for a click that ended in a conversion."""
    mature: Tensor
    """(N,) bool, whether a conversion would be known by now."""
    watch: Tensor | None
    """(N, T) float32, the watch head's targets."""


def multitask_losses(
    outputs: HeadOutputs,
    labels: LabelTensors,
    config: RankerHeadsConfig,
    watch_loss: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Scalars by head, and their weighted sum as `total`; `watch_loss` is the watch head's own.

    Clicks and conversions in nats, each the mean over impressions. Conversions are learned on all mature
    impressions as click and conversion together (ESMM: Ma, Zhao, Huang, Wang, Hu, Zhu & Gai, SIGIR 2018),
    so that the chance after a click is right for videos that are seldom clicked as well.
    """
    found = {"click": functional.binary_cross_entropy_with_logits(outputs.click, labels.click)}
    total = found["click"]
    if outputs.conversion is not None:
        each = joint_conversion_loss(outputs.click, outputs.conversion, labels.conversion)
        mature = labels.mature.to(each.dtype)
        found["conversion"] = (each * mature).sum() / mature.sum().clamp(min=1)
        total = total + config.conversion_weight * found["conversion"]
    if outputs.watch is not None and labels.watch is not None and watch_loss is not None:
        found["watch"] = watch_loss(outputs.watch, labels.watch)
        total = total + config.watch_weight * found["watch"]
    return found | {"total": total}


def joint_conversion_loss(click: Tensor, conversion: Tensor, happened: Tensor) -> Tensor:
    """(N,) −log of the chance of what happened, 1 for both events and 0 for not both, of (N,) logits."""
    clicked, left = functional.logsigmoid(click), functional.logsigmoid(-click)
    log_both = clicked + functional.logsigmoid(conversion)
    # 1 − p q as (1 − p) + p (1 − q): nothing is subtracted, so nothing cancels where p q is near 1.
    log_not = torch.logaddexp(left, clicked + functional.logsigmoid(-conversion))
    return -(happened * log_both + (1 - happened) * log_not)
