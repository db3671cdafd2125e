"""Settings of the ranking networks and their heads. Imports no torch."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from vrec.core.config import BaseConfig

TaskName = Literal["click", "watch", "conversion"]

Width = Annotated[int, Field(ge=1)]


class RankerHeadsConfig(BaseConfig):
    """Prediction heads of the network, and the parameters they share."""

    heads: tuple[TaskName, ...] | Literal["auto"] = "auto"
    """Heads: `click` (required), `watch` (seconds) and `conversion` (probability of one after a click).
    `auto` takes those that the training impressions can teach: with too few watches or conversions, their
    head is left out."""
    experts: int = Field(default=3, ge=1)
    """Number of expert networks shared by all heads, mixed by a gate per head; no effect with one head."""
    expert_width: int = Field(default=64, ge=1)
    """Width of the single layer of an expert."""
    tower: tuple[Width, ...] = (32,)
    """Widths of the layers of each head's own tower."""
    watch_weight: float = Field(default=1.0, gt=0)
    """Weight of the watch loss; the click loss has weight 1."""
    conversion_weight: float = Field(default=1.0, gt=0)
    """Weight of the joint click-and-conversion loss; the click loss has weight 1."""

    @field_validator("heads")
    @classmethod
    def _check_heads(
        cls, heads: tuple[TaskName, ...] | Literal["auto"]
    ) -> tuple[TaskName, ...] | Literal["auto"]:
        if heads == "auto":
            return heads
        if "click" not in heads or len(set(heads)) < len(heads):
            raise ValueError(f"heads are {', '.join(heads)}: want click, and each at most once")
        return heads

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """The heads by name; for `auto` all of them."""
        return ("click", "watch", "conversion") if self.heads == "auto" else self.heads

    def outputs(self, watch_width: int) -> dict[TaskName, int]:
        """Return the number of outputs of each head, click first."""
        sizes: dict[TaskName, int] = {"click": 1, "conversion": 1, "watch": watch_width}
        return {head: size for head, size in sizes.items() if head in self.tasks}


Structure = Literal["stacked", "parallel"]


class NetworkInputConfig(BaseConfig):
    """Input settings of all networks."""

    content: bool = True
    """Use content vectors as an input, where the catalog has them. They represent videos that nobody has
    watched."""
    id_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the videos whose id is replaced by unknown in a training step, so that the network also learns
    to predict without it."""
    position: Literal["none", "additive"] = "additive"
    """`additive` models the effect of the slot on clicks with a bias that is ignored when ranking; `none`
    ignores slots, and so tends to repeat the logged order."""
    position_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the impressions whose position is replaced by unknown in training."""


class LogisticRegressionConfig(NetworkInputConfig):
    """Logistic regression: a weight per vocabulary value and number, without the history."""

    kind: Literal["lr"] = "lr"
    """Architecture: logistic regression."""


class DeepNetworkConfig(NetworkInputConfig):
    """Common settings of the networks with embeddings."""

    width: int = Field(default=16, ge=1)
    """Embedding width of each field, of the mean of the tags and of the content vector."""
    hidden: tuple[Width, ...] = Field(default=(200, 80), min_length=1)
    """Widths of the dense layers."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the activations of the dense layers dropped in training."""


class DcnConfig(DeepNetworkConfig):
    """Deep and cross network, version 2 (Wang et al. 2021), with the mean of the history as input."""

    kind: Literal["dcn"] = "dcn"
    """Architecture: DCNv2."""
    cross_layers: int = Field(default=3, ge=1)
    """Number of cross layers; products of up to one more feature than this are learned."""
    structure: Structure = "stacked"
    """Dense layers after the cross layers (`stacked`) or in parallel with them (`parallel`)."""


class DinConfig(DeepNetworkConfig):
    """Deep interest network (Zhou et al. 2018): the candidate determines the weights of the history."""

    kind: Literal["din"] = "din"
    """Architecture: DIN."""
    attention: tuple[Width, ...] = Field(default=(36,), min_length=1)
    """Widths of the layers of the local activation unit."""
    activation: Literal["dice", "prelu"] = "dice"
    """Activation of the dense layers and the local activation unit."""


NetworkConfig = Annotated[LogisticRegressionConfig | DcnConfig | DinConfig, Field(discriminator="kind")]
"""Network architecture and its settings."""


class CreadConfig(BaseConfig):
    """CREAD: ordinal buckets of seconds, with a binary classifier per threshold."""

    kind: Literal["cread"] = "cread"
    """Name of this head."""
    thresholds: int = Field(default=16, ge=1)
    """Maximum number of thresholds, 0 s included; more are finer, but each has fewer training rows."""
    tail: float = Field(default=1.0, ge=0)
    """Spacing of the thresholds: 0 puts equally many watches into each bucket; larger values make buckets of
    long watches, which else span minutes, finer and those of short watches coarser."""
    restore_weight: float = Field(default=0.03, ge=0)
    """Weight of the Huber loss of the restored seconds; the cross-entropy of the thresholds has weight 1."""
    huber: float = Field(default=5.0, gt=0)
    """Errors up to this many mean watches count squared, larger ones linearly, which biases the mean."""
    order_weight: float = Field(default=0.1, ge=0)
    """Weight of the penalty for predicting a longer watch as more likely than a shorter one."""


class D2qConfig(BaseConfig):
    """D2Q: quantiles of watch time among videos of similar duration."""

    kind: Literal["d2q"] = "d2q"
    """Name of this head."""
    groups: int = Field(default=20, ge=1)
    """Maximum number of duration groups, equal in impressions; unknown durations are one more group."""
    min_rows: int = Field(default=100, ge=2)
    """Least number of impressions of a group; fewer of unknown duration use the quantiles of all."""
    knots: int = Field(default=1000, ge=2)
    """Number of points (or one more) of a group's piecewise linear distribution."""


class RawWatchConfig(BaseConfig):
    """Seconds themselves, by least squares."""

    kind: Literal["raw"] = "raw"
    """Name of this head."""


WatchConfig = Annotated[CreadConfig | D2qConfig | RawWatchConfig, Field(discriminator="kind")]
"""Watch head and its settings."""
