"""Settings of differential privacy."""

from typing import Annotated, Literal

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.core.errors import ConfigError
from vrec.privacy.anonymous.config import AnonymousConfig
from vrec.privacy.pii.config import PiiScanConfig


class AuditConfig(BaseConfig):
    """Settings of the attacks of `vrec privacy audit`."""

    shoppers: int = Field(default=1000, ge=20)
    """Most shoppers; of more, some are drawn at random."""
    models: int = Field(default=16, ge=4)
    """Fits on halves of the shoppers for membership inference: each is the target once, all others shadow
    models."""
    targets: int = Field(default=200, ge=2)
    """Shoppers whose last video is reconstructed from changes of neighbors."""
    canaries: int = Field(default=60, ge=3)
    """Planted shoppers, half of whom are in the fit."""
    seed: int = Field(default=0, ge=0)
    """Seed of halves, targets and canaries; the noise of private fits has none."""


class PrivacyConfig(BaseConfig):
    """Settings of fits with differential privacy, by which one shopper more or less hardly changes a model.

    Without `epsilon` a fit is not private. See docs/privacy.md for what is promised, and what is not.
    """

    epsilon: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    """ε that one fit spends, with one shopper added or removed; lower values protect more and cost accuracy.
    None fits without noise. With it, the videos of VIDEOS are recommended, which count as public."""
    delta: float = Field(default=1e-6, gt=0, le=1e-3, allow_inf_nan=False)
    """δ of each fit and of the ledger: the probability with which ε may fail to hold. It should be far below
    one in the number of shoppers."""
    budget: float | None = Field(default=None, gt=0, le=1000, allow_inf_nan=False)
    """ε that all fits on one data set may spend together, fixed when its ledger is made. None is that of the
    ledger, and 10 for a new one."""
    ledger: str | None = None
    """Path of the ledger, a local file. None puts it beside the events, as `EVENTS.privacy.jsonl`."""
    count_videos: Literal["auto"] | Annotated[float, Field(ge=1, le=100_000)] = "auto"
    """Videos per shopper up to which each counts in full; those of a shopper with more count less, so that
    the Euclidean norm of what a shopper adds to the counts is that of this number. `auto` is the number that
    three quarters of the shoppers do not exceed, by a noised histogram; without VIDEOS it is 100."""
    length_share: float = Field(default=0.02, gt=0, lt=0.5)
    """Share of the precision (1 / noise multiplier²) that this histogram gets."""
    pair_videos: float = Field(default=3.0, ge=1, le=100_000)
    """The same for what a shopper adds to the Gram matrix, the counts of pairs of videos."""
    gram_videos: int = Field(default=150, ge=2, le=5_000)
    """Videos with the highest noised counts whose pairs are counted; the others are ranked by their noised
    counts. More of them spread the same noise over more pairs."""
    count_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of what is left of the precision that counts get; the Gram matrix gets the rest."""
    ridge: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    """Ridge of `ease`, in units of the greatest eigenvalue that noise alone has."""
    popularity: float = Field(default=0.1, ge=0, le=1000, allow_inf_nan=False)
    """Weight of noised counts in the scores of `item_knn` and `ease`, the greatest count being 1. It is that
    of the greatest similarity where noise alone has as great an eigenvalue as the Gram matrix, and less in
    proportion where the matrix stands out."""
    audit: AuditConfig = Field(default_factory=AuditConfig)
    """Attacks of `vrec privacy audit`."""
    scan: PiiScanConfig = Field(default_factory=PiiScanConfig)
    """`vrec scan-pii`."""
    anonymous: AnonymousConfig = Field(default_factory=AnonymousConfig)
    """`vrec anonymise`."""


def require_no_epsilon(config: PrivacyConfig, what: str) -> None:
    """Check that no ε is asked of something that has no private form.

    Raises:
        ConfigError: There is one.
    """
    if config.epsilon is not None:
        raise ConfigError(
            f"{what} has no private form, and privacy.epsilon is {config.epsilon:g}",
            fix="leave privacy.epsilon out, or fit popular, item_knn, ease or als with `vrec fit`",
        )
