"""Settings of defences of fits, and of the bench of attacks. Imports no numerical library."""

from typing import Annotated

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.robustness.behavior.config import SuspectsConfig

Share = Annotated[float, Field(gt=0, lt=1)]


class PromotedConfig(BaseConfig):
    """Settings of the detection of promoted videos."""

    score: float = Field(default=-2.0, allow_inf_nan=False)
    """Score, in log odds, above which a video counts as promoted; lower values find more attacks, and leave
    out more interactions of honest shoppers."""
    least_shoppers: int = Field(default=5, ge=1)
    """Fewest shoppers of a video that can count as promoted."""
    least_odd: float = Field(default=0.7, ge=0, le=1)
    """Least share of a promoted video's shoppers that are odd in the direction of all."""
    most_share: float = Field(default=0.1, gt=0, le=1)
    """Largest share of all shoppers with which a video can count as promoted: one that more have watched owes
    little to fake shoppers."""
    least_shown: float = Field(default=3.5, ge=0, allow_inf_nan=False)
    """Least share of `item_knn`'s lists of ten that show a promoted video, in units of its share of the
    shoppers; others are left alone, as they gain little. It costs a fit of item_knn where a video looks
    promoted; 0 leaves nothing alone."""
    sure_score: float = Field(default=2.0, allow_inf_nan=False)
    """Score from which a video counts as promoted however seldom lists show it."""
    window: int = Field(default=60, ge=10)
    """Number of videos with about as many shoppers that a video is compared with."""


class DefenceConfig(BaseConfig):
    """Settings of what a fit does against fake shoppers."""

    drop_promoted: bool = False
    """Leave interactions out of the fit that promote a video, as found by `promoted`. Off by default: a few
    honest videos in a thousand lose a part of their shoppers, which costs small and sparse shops most."""
    promoted: PromotedConfig = Field(default_factory=PromotedConfig)
    """Detection of promoted videos."""
    clip_videos: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Most that one shopper adds to all counts of videos together: each video of a shopper with more counts
    in proportion less. None sets no limit. For popular, item_knn, ease and als."""
    shopper_weights: str | None = None
    """Path or URI of a table of `user_id` and `weight` in [0, 1]: what a shopper's interactions count in
    fits; 1 for shoppers that it lacks. Weights other than 0 and 1 are for popular, item_knn, ease and als."""


class AttackBenchConfig(BaseConfig):
    """Settings of `vrec robustness bench`."""

    attacks: tuple[str, ...] = ()
    """Names of the attacks; all if empty."""
    rates: tuple[Share, ...] = (0.01, 0.03, 0.05)
    """Fake shoppers per real shopper."""
    targets: int = Field(default=1, ge=1)
    """Targets of each sort per attack and rate: random ones of the long tail, and new videos."""
    videos: int = Field(default=1000, ge=20)
    """Most videos of the shop that is attacked, drawn in proportion to their shoppers."""
    shoppers: int = Field(default=2000, ge=20)
    """Most shoppers, drawn at random among those with at least three of these videos."""
    test_share: Share = 0.2
    """Share of each shopper's interactions by which the accuracy of lists is measured."""
    seed: int = Field(default=0, ge=0)
    """Seed of the draws of shop, targets and profiles."""


class RobustnessConfig(BaseConfig):
    """Settings against abnormal data and attacks."""

    defence: DefenceConfig = Field(default_factory=DefenceConfig)
    """Defences of fits."""
    bench: AttackBenchConfig = Field(default_factory=AttackBenchConfig)
    """`vrec robustness bench`."""
    suspects: SuspectsConfig = Field(default_factory=SuspectsConfig)
    """`vrec robustness suspects`."""
