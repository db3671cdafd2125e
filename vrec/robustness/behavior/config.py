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


class StreamGuardConfig(BaseConfig):
    """Settings of the weights of suspicious shoppers' events while the service runs."""

    on: bool = False
    """Whether events by which newcomers alone push a video are held back from trends and from the counts that
    rank videos, until shoppers with a history or purchases vouch for them. They are stored either way, and a
    purchase always counts."""
    quarantine: str | None = None
    """Path or URI of a table of `vrec robustness suspects`: of its shoppers of weight 0 only purchases count
    in trends and in the counts that rank videos, and nothing in A/B tests. It works without `on` too."""
    reread_s: float = Field(default=30.0, ge=1, le=3600)
    """Seconds after which the table is looked at again; a change counts the log again."""
    history_minutes: float = Field(default=10.0, ge=0)
    """Least minutes since the first event of a regular, who also chose three videos."""
    free_newcomers: float = Field(default=10.0, ge=1)
    """Newcomers, and regulars, who choose a video without anybody to vouch for them, at once and again by
    the day."""
    margin: float = Field(default=1.5, gt=0)
    """Factor on the usual numbers: of newcomers per regular, of regulars per customer, of choices per
    purchase."""
    per_rise: float = Field(default=10.0, ge=0)
    """Newcomers and regulars for whom a customer vouches while unusually many of these choose the video."""
    per_purchase: tuple[float, float] = (15.0, 100.0)
    """Choices for which the first purchase of a video vouches, and the most for which one does: the second
    vouches for twice as many as the first, and so on, up to the shop's usual choices per purchase."""
    orders_surface: str | None = None
    """Surface of the purchases that the shop's server sends; `browser` keys may send none of it. If set, only
    these make customers and vouch for others: any page can send a purchase. All count, whoever sends them."""
    announced: str | None = None
    """Path or URI of a table of newcomers that the shop expects, as of an advertisement: `video_id`, `since`,
    `until` and `newcomers`, of whom so many count without anybody to vouch for them. It is looked at with
    `quarantine`."""
    most_repeats: int = Field(default=10, ge=1)
    """Choices of one video by one shopper in a day that count in the counts that rank videos."""
    most_shoppers: int = Field(default=200_000, ge=10)
    """Maximum number of shoppers, of videos and of pairs of both that are remembered, those of late; about
    60 MB. A shopper who is forgotten is a newcomer again."""
