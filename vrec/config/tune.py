"""Settings for `vrec tune`."""

from pydantic import Field

from vrec.core.config import BaseConfig


class TuneConfig(BaseConfig):
    """Number, order and resources of trials."""

    trials: int = Field(default=30, ge=1)
    """Total number of trials, including that of the settings as given. The same command with a higher number
    adds to the trials that exist."""
    seed: int = Field(default=0, ge=0)
    """Random seed. When several trials run at once, suggestions also depend on which of them ends first."""
    random_trials: int = Field(default=10, ge=1)
    """Finished trials up to which settings are drawn at random; later ones are suggested by TPE (Bergstra et
    al. 2011)."""
    concurrent: int | None = Field(default=None, ge=1)
    """Maximum number of concurrent trials; by default as many as the cluster's CPUs and GPUs hold at the
    start."""
    cpus: float = Field(default=1.0, gt=0)
    """CPUs that Ray reserves for one trial."""
    gpus: float = Field(default=0.0, ge=0, le=8)
    """GPUs that Ray reserves for one trial; 0.5 lets two trials share one."""
    max_failures: int = Field(default=2, ge=0)
    """Number of times that a trial is repeated after its process or its node was lost. A trial that is lost
    more often is named, but is no result: the same command tries it again."""
    early_stop: bool = True
    """Whether trials that lag behind others at the same epoch are stopped (ASHA: Li et al. 2020). No effect
    on models that report one score only. The trial of the settings as given is never stopped."""
    grace_epochs: int = Field(default=1, ge=1)
    """Minimum number of epochs before a trial may be stopped."""
    reduction: float = Field(default=3.0, gt=1)
    """ASHA's reduction factor η: at `grace_epochs` · ηⁿ epochs, the best 1/η of the trials continue."""
