"""Settings of the detection of abnormal behavior. Imports no numerical library."""

from pydantic import Field

from vrec.core.config import BaseConfig


class SuspectsConfig(BaseConfig):
    """Settings of `vrec robustness suspects`."""

    score: float = Field(default=8.0, ge=0, allow_inf_nan=False)
    """Score from which a shopper is a suspect, with a weight below 1. Scores are of no unit; they are
    comparable between logs, as each part is measured in deviations of shoppers who are about as active."""
    graded: bool = False
    """Whether a suspect's weight falls evenly from 1 at `score` to 0 at twice that; else it is 0, which every
    recommender takes."""
    most_share: float = Field(default=0.2, gt=0, le=1)
    """Largest share of the shoppers that can be suspects, those with the highest scores: what more do is the
    usual."""
    least_events: int = Field(default=2, ge=1)
    """Fewest events of a suspect that choose a video."""
