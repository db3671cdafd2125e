"""Settings for `vrec loop`."""

from typing import Annotated

from pydantic import Field

from vrec.core.config import BaseConfig
from vrec.evaluation.promotion.config import PromotionConfig, WatchConfig
from vrec.robustness.gates.config import GatePolicy

ModelName = Annotated[str, Field(min_length=1)]


class MlflowConfig(BaseConfig):
    """Export of each run to MLflow."""

    uri: str | None = None
    """Tracking URI, such as `http://mlflow:5000` or `sqlite:///mlflow.db`; null, the default, exports
    nothing. The package `mlflow` or `mlflow-skinny` has to be installed besides vrec."""
    experiment: str = Field(default="vrec", min_length=1)
    """Name of the experiment, which is made where there is none."""


class LoopConfig(BaseConfig):
    """Settings for `vrec loop`."""

    models: tuple[ModelName, ...] = Field(default=("auto",), min_length=1)
    """Recommenders to fit. Each gives a challenger, and the best one that passes is promoted; the more there
    are, the more evidence each one needs."""
    ranker: bool = True
    """Whether a ranker is trained, where the log has impressions to learn from."""
    embed: bool = True
    """Whether the videos are embedded, unless `--embeddings` names a folder."""
    hold_out_hours: float = Field(default=24.0, gt=0)
    """Newest hours of the log that no challenger sees, and on which they are tested."""
    gates: GatePolicy = "stop"
    """Policy of the data gates in place of `events.gates.policy`: nobody reads a warning at night."""
    full_export_days: float = Field(default=7.0, gt=0)
    """Days after which the log is exported from its beginning again, so that what was erased in the service
    since is gone from the copy too."""
    lease_s: float = Field(default=120.0, ge=1)
    """Seconds without a sign of life after which a loop counts as dead where `--out` is in an object store.
    On local disks its lock ends with its process."""
    keep: int = Field(default=5, ge=1)
    """Newest bundles and runs that are kept, besides those in service, before it, and to be confirmed."""
    key_variable: str = "VREC_LOOP_KEY"
    """Environment variable with an API key of the service that has the scopes `read` and `manage`;
    VARIABLE_FILE may name a file with it instead."""
    timeout_s: float = Field(default=60.0, gt=0)
    """Seconds that a call of the service may take."""
    move_s: float = Field(default=600.0, gt=0)
    """Seconds that a move of the service to another bundle may take."""
    promotion: PromotionConfig = Field(default_factory=PromotionConfig)
    """Test of challengers."""
    watch: WatchConfig = Field(default_factory=WatchConfig)
    """Watch over the service after a promotion."""
    mlflow: MlflowConfig = Field(default_factory=MlflowConfig)
    """Export to MLflow."""
