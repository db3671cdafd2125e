"""Bundles below a folder, as their manifests describe them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from vrec.bundle.catalog import bundle_errors, bundle_version, read_bundle_manifest
from vrec.core.errors import BundleError
from vrec.core.masking import mask_credentials
from vrec.core.tables import MANIFEST, StorageFolder
from vrec.core.uris import join_uri

READ_AT_ONCE = 8
"""Manifests that are read at the same time: on other machines each takes a while."""
MAX_FIGURES = 60
"""Maximum number of offline figures of a component."""
END_OF_TIME_US = 253_402_300_800_000_000
"""Start of the year 10000, µs since 1970, which calendars do not have."""

Figures = Mapping[str, Mapping[str, float | str]]
"""Offline figures by component, and the path of each within it."""


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """Bundle as its manifest describes it; none of its other files is read."""

    name: str
    """Name of its folder."""
    uri: str
    """Folder, without credentials."""
    version: str | None = None
    """Version of the bundle; None if it cannot be read."""
    made_at: int | None = None
    """µs since 1970; None if it cannot be read."""
    videos: int | None = None
    """Number of videos; None if the manifest does not say, as those of earlier versions of vrec."""
    encoder: str | None = None
    """Name of the encoder; None if there is none, or the manifest does not say."""
    metrics: Figures = field(default_factory=dict)
    problem: str | None = None
    """Reason why the folder is no readable bundle; None if it is one."""


def list_bundles(uri: str) -> list[BundleSummary]:
    """Return the direct subfolders of a folder, the newest bundle first and those without one last.

    Hidden folders are left out. A folder that is no readable bundle has the reason.

    Raises:
        OSError: The folder cannot be read.
        SourceError: The folder on another machine cannot be reached.
    """
    names = bundle_names(uri)
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        found = list(pool.map(lambda name: read_summary(uri, name), names))
    return sorted(found, key=lambda one: (-(one.made_at or 0), one.name))


def bundle_names(uri: str) -> list[str]:
    """Return the sorted names of the subfolders that may be bundles; raises as `list_bundles`."""
    return [name for name in StorageFolder(uri).folders() if not name.startswith(".")]


def summary_in_service(listed: Sequence[BundleSummary], uri: str, version: str) -> BundleSummary | None:
    """Return the listed bundle that a service with this folder and version has; None for one from elsewhere.

    Copies of a bundle have its version, and a folder may be written in several ways.
    """
    same = [one for one in listed if one.version == version]
    return next((one for one in same if one.uri == uri.rstrip("/")), same[0] if same else None)


def read_summary(uri: str, name: str) -> BundleSummary:
    """Return the summary of the bundle in a subfolder, with the reason if there is none."""
    folder = join_uri(uri, name)
    shown = mask_credentials(folder)
    try:
        with bundle_errors(folder):
            return _summary(name, shown, read_bundle_manifest(StorageFolder(folder)))
    except BundleError as error:
        # The reader knows the name alone, not where the folder is.
        problem = str(error).replace(folder, name).replace(shown, name)
        return BundleSummary(name, shown, problem=mask_credentials(problem).removeprefix(f"{name}: "))
    except (TypeError, AttributeError, OverflowError, RecursionError):
        return BundleSummary(name, shown, problem=f"its {MANIFEST} is not the manifest of a bundle")


def _summary(name: str, uri: str, manifest: Mapping[str, Any]) -> BundleSummary:
    data, videos, encoder = manifest["data"], manifest["data"].get("videos"), manifest["data"].get("encoder")
    made_at = int(data["made_at"])
    if not 0 <= made_at < END_OF_TIME_US:
        raise ValueError(f"it was made at {made_at} µs since 1970")
    return BundleSummary(
        name=name,
        uri=uri,
        version=bundle_version(manifest),
        made_at=made_at,
        videos=None if videos is None else int(videos),
        encoder=None if encoder is None else str(encoder),
        metrics=offline_figures(manifest["metrics"]),
    )


def offline_figures(metrics: Mapping[str, Any]) -> dict[str, dict[str, float | str]]:
    """Return the numbers and texts of a manifest's metrics by component, at most MAX_FIGURES of each."""
    parts = {name: values for name, values in metrics.items() if isinstance(values, Mapping)}
    return {name: dict(list(flat_figures(values))[:MAX_FIGURES]) for name, values in parts.items()}


def flat_figures(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | str]]:
    """Yield the path and value of each finite number and text in metrics; all else is left out."""
    for name, value in metrics.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flat_figures(value, f"{path}.")
        elif isinstance(value, str) or (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        ):
            yield path, value
