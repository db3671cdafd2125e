"""How a sweep over settings is run."""

from pydantic import Field

from vrec.core.config import BaseConfig


class TuneConfig(BaseConfig):
    """How many trials `vrec tune` makes, which, and how many at the same time."""

    trials: int = Field(default=30, ge=1)
    """Trials in all, the one of the settings as given among them. The same command with a higher number goes
    on from the trials that are there."""
    seed: int = Field(default=0, ge=0)
    """Seed of what is drawn. Where several trials run at once, what is suggested depends also on which of
    them ends first."""
    random_trials: int = Field(default=10, ge=1)
    """Finished trials up to which settings are drawn at random; the others by what was found (TPE: Bergstra
    et al. 2011)."""
    concurrent: int | None = Field(default=None, ge=1)
    """The most trials at the same time; by default as many as the cluster's CPUs and GPUs hold when the sweep
    begins."""
    cpus: float = Field(default=1.0, gt=0)
    """CPUs that Ray sets aside for one trial."""
    gpus: float = Field(default=0.0, ge=0, le=8)
    """GPUs that Ray sets aside for one trial; a share such as 0.5 lets two have one."""
    early_stop: bool = True
    """Whether trials that lag behind others after as many epochs are stopped (ASHA: Li et al. 2020); of no
    effect where a trial has one figure only. The settings as given are never stopped."""
    grace_epochs: int = Field(default=1, ge=1)
    """Epochs before which no trial is stopped."""
    reduction: float = Field(default=3.0, gt=1)
    """Of the trials that come to `grace_epochs`, and to this many times as many, and so on, one in this many
    goes on."""
