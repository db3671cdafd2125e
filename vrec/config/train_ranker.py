"""Settings for `vrec train ranker`."""

from pydantic import Field

from vrec.profiles.update import ProfilesConfig
from vrec.ranking.config import LogSplitConfig, RankerConfig
from vrec.ranking.private.config import PrivateRankerConfig
from vrec.training.workers import WorkersConfig


class TrainRankerConfig(RankerConfig, WorkersConfig):
    """Settings for building ranking examples from a log and training a ranker on them."""

    split: LogSplitConfig = Field(default_factory=LogSplitConfig)
    """Split of the log, by time, into train, validation and test."""
    profiles: ProfilesConfig = Field(default_factory=ProfilesConfig)
    """Updates of profiles by events; serve with the same settings."""
    private: PrivateRankerConfig = Field(default_factory=PrivateRankerConfig)
    """Training with `privacy.epsilon`, which has a network and steps of its own."""
    shards: int | None = Field(default=None, ge=1)
    """Shards in which the log is replayed in parallel; by default one per CPU of the cluster."""
    local_examples: int = Field(default=1_000_000, ge=1)
    """Impressions up to which all examples are held in memory; more are written to files below `--out` while
    the ranker is trained, and read a part of about so many at a time. Each part is shuffled by itself."""

    @property
    def model(self) -> RankerConfig:
        """The settings of the ranker itself, as its folder stores them."""
        return RankerConfig(**{name: getattr(self, name) for name in RankerConfig.model_fields})
