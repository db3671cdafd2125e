"""Differences between two bundles, by their manifests and their VIDEOS."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vrec.bundle.catalog import bundle_errors, bundle_version, read_bundle_manifest
from vrec.bundle.summary import flat_figures, offline_figures
from vrec.core.artifact import read_artifact
from vrec.core.tables import StorageFolder

MAX_NAMED = 10
"""Videos that are named; of more the first ones by id."""


@dataclass(frozen=True, slots=True)
class BundleDifference:
    """Differences of a bundle from an earlier one."""

    versions: tuple[str, str]
    made_at: tuple[int, int]
    """µs since 1970."""
    added: tuple[str, ...]
    """Videos that only the later one has, by id."""
    removed: tuple[str, ...]
    """Videos that only the earlier one has, by id."""
    changed: int
    """Videos of both whose rows differ."""
    parts: tuple[str, ...]
    """Models that differ, or that only one of them has."""
    settings: Mapping[str, tuple[Any, Any]]
    """Settings that differ, by name."""
    figures: Mapping[str, tuple[float | str | None, float | str | None]]
    """Offline figures that differ, by component and path."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values, with at most MAX_NAMED videos of each kind by name."""
        return {
            "versions": list(self.versions),
            "made_at": list(self.made_at),
            "videos": {"added": len(self.added), "removed": len(self.removed), "changed": self.changed},
            "added": list(self.added[:MAX_NAMED]),
            "removed": list(self.removed[:MAX_NAMED]),
            "parts": list(self.parts),
            "settings": {name: list(pair) for name, pair in self.settings.items()},
            "figures": {name: list(pair) for name, pair in self.figures.items()},
        }


def compare_manifests(before: str, after: str) -> BundleDifference:
    """Compare the bundles in two folders; no model is loaded.

    Raises:
        BundleError: A folder has no readable bundle.
    """
    manifests, rows = [], []
    for uri in (before, after):
        with bundle_errors(uri):
            manifests.append(read_bundle_manifest(StorageFolder(uri)))
            videos = read_artifact(uri, blobs=False).tables["videos"]
            rows.append(dict(zip(videos.column("video_id").to_pylist(), videos.to_pylist(), strict=True)))
    old, new = rows
    one, other = manifests
    parts = [manifest["data"]["parts"] for manifest in manifests]
    return BundleDifference(
        versions=(bundle_version(one), bundle_version(other)),
        made_at=(int(one["data"]["made_at"]), int(other["data"]["made_at"])),
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=sum(old[name] != new[name] for name in old.keys() & new.keys()),
        parts=tuple(
            name for name in sorted({*parts[0], *parts[1]}) if parts[0].get(name) != parts[1].get(name)
        ),
        settings=_different(_flat(one["config"]), _flat(other["config"])),
        figures=_different(_figures(one), _figures(other)),
    )


def _figures(manifest: Mapping[str, Any]) -> dict[str, float | str]:
    found = offline_figures(manifest["metrics"])
    return {f"{part}.{path}": value for part, values in found.items() for path, value in values.items()}


def _flat(settings: Mapping[str, Any]) -> dict[str, float | str]:
    return dict(flat_figures(settings))


def _different(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = sorted({*old, *new})
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}
