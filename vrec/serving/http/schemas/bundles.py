"""Bodies and responses of `/v1/bundles`."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import StringConstraints
from typing_extensions import TypeAliasType

from vrec.bundle.summary import BundleSummary
from vrec.serving import bundle_moves
from vrec.serving.bundle_moves import BundleMove
from vrec.serving.deployments.service_state import ServiceState
from vrec.serving.http.schemas.requests import RequestModel
from vrec.serving.http.schemas.responses import ResponseModel

BundleName = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^/\\\x00-\x1f\x7f-\x9f]+$")
]
"""Name of a subfolder."""
MoveState = TypeAliasType("MoveState", bundle_moves.MoveState)


class MoveBundleRequest(RequestModel):
    """Body of `POST /v1/bundles:move`."""

    bundle: BundleName
    """Name of a bundle of `GET /v1/bundles`; that of an earlier one rolls back."""


class BundleMoveResponse(ResponseModel):
    """Move to another bundle."""

    bundle: str
    """Name of the bundle."""
    state: MoveState
    started_at: datetime
    ended_at: datetime | None
    """Time at which it ended; null while it runs."""
    why: str | None
    """Reason why it failed; the bundle before is then in service."""


class ServedBundleResponse(ResponseModel):
    """Bundle in service, as the HTTP replica that answers has it."""

    name: str | None
    """Name in `bundles`; null for a bundle from elsewhere."""
    version: str
    made_at: datetime
    loaded_at: datetime
    """Time at which the replica moved to it."""
    videos: int
    encoder: str | None
    """Name of the encoder; null without one."""
    previous: str | None
    """Version of the bundle in service before; null if there was none."""


class RefusedBundleResponse(ResponseModel):
    """Bundle that the service refused."""

    why: str
    fix: str


class ListedBundle(ResponseModel):
    """Bundle that the shop may be moved to, as its manifest describes it."""

    name: str
    version: str | None
    """Version; null if the bundle cannot be read."""
    made_at: datetime | None
    videos: int | None
    """Number of videos; null if the manifest does not say."""
    encoder: str | None
    """Name of the encoder; null without one, or if the manifest does not say."""
    metrics: dict[str, dict[str, float | str]]
    """Offline figures by component and path, such as `ranker` and `test.auc`."""
    in_service: bool
    """Whether it is the bundle in service."""
    problem: str | None
    """Reason why the folder is no readable bundle; null if it is one."""


class BundlesResponse(ResponseModel):
    """Response of `GET /v1/bundles`."""

    in_service: ServedBundleResponse
    refused: RefusedBundleResponse | None
    """Bundle that reached the service last, by a command, a config or a move, and was refused by it; null if
    that one is in service. A move checks its bundle before: one that fails there has the reason in `move.why`
    alone."""
    move: BundleMoveResponse | None
    """Move that runs, or the one that ended last; null if there was none."""
    bundles: list[ListedBundle]
    """Subfolders of `serve.bundles` (of a tenant: `serve.tenants.NAME.bundles`), the newest bundle first."""
    problem: str | None
    """Reason why there is no such folder; null if there is one."""


def move_content(move: BundleMove) -> dict[str, Any]:
    """Return a BundleMoveResponse as a dict."""
    return {
        "bundle": move.bundle,
        "state": move.state,
        "started_at": _time(move.started_at),
        "ended_at": _time(move.ended_at),
        "why": move.why,
    }


def served_content(state: ServiceState, name: str | None) -> dict[str, Any]:
    """Return a ServedBundleResponse as a dict."""
    return {
        "name": name,
        "version": state.version,
        "made_at": _time(state.made_at),
        "loaded_at": _time(state.loaded_at),
        "videos": state.videos,
        "encoder": state.encoder,
        "previous": state.previous,
    }


def listed_content(bundle: BundleSummary, in_service: str | None) -> dict[str, Any]:
    """Return a ListedBundle as a dict; `in_service` is the name of the bundle in service."""
    return {
        "name": bundle.name,
        "version": bundle.version,
        "made_at": _time(bundle.made_at),
        "videos": bundle.videos,
        "encoder": bundle.encoder,
        "metrics": bundle.metrics,
        "in_service": bundle.name == in_service,
        "problem": bundle.problem,
    }


def _time(at: int | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at / 1e6, UTC)
