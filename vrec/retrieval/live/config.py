"""Settings of the models of live streams. Imports no numerical library."""

from pydantic import Field

from vrec.core.config import BaseConfig


class LiveConfig(BaseConfig):
    """Settings of the choice among the streams that are live at an instant."""

    learned_share: float = Field(default=0.5, gt=0, lt=1)
    """Share of the log, its newest views, by which the weights of the features are learned; the similarity of
    streamers that they are learned with is that of the views before."""
    max_views: int = Field(default=15_000, ge=1)
    """Maximum number of views that the weights are learned by; of more, random ones are used. Memory and
    time of the fit grow with it."""
    max_candidates: int = Field(default=80, ge=2)
    """Maximum number of live streams that a view is compared with in the fit: those of streamers whom the
    shopper knows, and random others."""
    early_leave_s: float = Field(default=60.0, ge=0)
    """Seconds below which a view counts as left early, which says little for the stream."""
    early_weight: float = Field(default=0.25, ge=0, le=1)
    """Weight of a view that was left early in the fit; one that was not counts 1."""
    l2: float = Field(default=1.0, ge=0)
    """Factor of the squared norm of the weights in the loss, for features of deviation 1."""
    max_history: int = Field(default=300, ge=1)
    """Newest views of a shopper that are used."""
