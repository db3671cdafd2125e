"""Settings of the alarms for a model that gets worse."""

from pydantic import Field

from vrec.core.config import BaseConfig


class ModelHealthConfig(BaseConfig):
    """Hourly comparison of the service's predictions with what shoppers did, and its alarms."""

    lists_per_minute: int = Field(default=30, ge=0, le=1_000)
    """Lists of each minute and HTTP replica, drawn at random, whose predictions are compared with the log an
    hour later; 0 for no comparison and no alarms. More find a bad model sooner where there is the traffic."""
    click_minutes: float = Field(default=15.0, gt=0, le=60)
    """Minutes after the end of an hour in which clicks on its lists still count; then it is compared."""
    min_reference_hours: int = Field(default=24, ge=2)
    """Fewest hours with lists, before the one that is compared, that make a reference."""
    reference_hours: int = Field(default=168, ge=2)
    """Most hours that make a reference: the last ones before the present bundle, or else its own first
    ones."""
    skill: float = Field(default=0.5, gt=0, lt=1)
    """Share of the reference's gAUC above 0.5 below which the order of lists counts as worse."""
    calibration: float = Field(default=1.5, gt=1)
    """Factor by which clicks per predicted click may differ from the reference's, up or down."""
    coverage: float = Field(default=0.6, gt=0, lt=1)
    """Share of the reference's coverage below which lists count as having collapsed to few videos."""
    false_alarms_per_month: float = Field(default=1.0, gt=0, le=720)
    """Expected number of false alarms in 720 hours, at most, of all alarms of a shop together."""
