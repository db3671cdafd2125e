"""Settings of lists of creators."""

from pydantic import Field

from vrec.core.config import BaseConfig


class CreatorListsConfig(BaseConfig):
    """Lists of creators and streamers (`POST /v1/recommend` with `kind: creator` or `streamer`)."""

    quality: float = Field(default=0.25, ge=0, allow_inf_nan=False)
    """Weight of a creator's rates beside the shopper's interest, both in standard deviations."""
    new_impressions: int = Field(default=100, ge=1)
    """Impressions of all of a creator's videos below which the creator counts as new."""
    new_share: float = Field(default=0.1, ge=0, le=1)
    """Least share of the places that new creators get, on average over lists, as long as there are any."""
    exploration: float = Field(default=0.3, ge=0, allow_inf_nan=False)
    """Noise of the score of a creator without impressions, in standard deviations of the scores; it falls
    with the root of the impressions. 0 leaves only the places of new creators to chance."""
