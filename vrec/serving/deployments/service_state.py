"""State of the service as its pages show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vrec.bundle.summary import Figures


@dataclass(frozen=True, slots=True)
class ServiceReadiness:
    """Readiness of each part of the service."""

    bundle: str
    """Version of the bundle in service."""
    parts: Mapping[str, str | None] = field(default_factory=dict)
    """Reason why a part is not ready, by part; None if it is ready."""
    refused: str | None = None
    """Reason why the bundle requested last was refused; None if it is in service."""

    @property
    def ready(self) -> bool:
        """True if every part is ready. A service that refused a bundle is ready with the one before."""
        return all(why is None for why in self.parts.values())


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """Replicas of one deployment as Ray Serve reports them."""

    deployment: str
    status: str
    """Serve's status, such as HEALTHY or UPDATING."""
    states: Mapping[str, int]
    """Number of replicas by state, such as RUNNING."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """Bundle in service, as this HTTP replica has it, and the replicas."""

    uri: str
    """Folder of the bundle, without credentials."""
    version: str
    made_at: int
    """µs since 1970."""
    loaded_at: int
    """µs since 1970 when this replica moved to the bundle."""
    videos: int
    """Number of videos in the bundle."""
    encoder: str | None
    metrics: Figures
    """Offline figures in the bundle's manifest, by model."""
    refused: tuple[str, str] | None = None
    """Reason why the bundle requested last was refused, and the fix; None if it is in service."""
    previous: str | None = None
    """Version of the bundle in service before; None if there was none."""
    replicas: tuple[ReplicaCounts, ...] | None = None
    """Replicas by deployment; None without Ray Serve."""
