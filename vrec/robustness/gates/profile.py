"""Good days: what a later table is compared with, saved beside a model without ids of shoppers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vrec.core.errors import SourceError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri, read_file
from vrec.robustness.gates.features import FEATURES
from vrec.robustness.gates.hourly import DayCounts

GOOD_DAYS = "good_days.json"
"""File of the good days in a model's folder."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class GoodDays:
    """Counts of days that a fit was made with."""

    days: Mapping[int, DayCounts]
    """By day since 1970 UTC."""
    varied: tuple[str, ...] = ()
    """Columns with several values."""
    catalog: Mapping[str, Any] | None = None
    """Figures of VIDEOS by `summarize_videos`."""
    events: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "kind": "good_days",
            "format": FORMAT,
            "days": {str(day): held.as_json() for day, held in sorted(self.days.items())},
            "varied": list(self.varied),
            "catalog": None if self.catalog is None else dict(self.catalog),
        }

    def newest(self, most: int) -> "GoodDays":
        """Return it with the newest days alone."""
        return GoodDays({day: self.days[day] for day in sorted(self.days)[-most:]}, self.varied, self.catalog)


def good_days_text(good: GoodDays) -> bytes:
    """Return the content of a file of good days."""
    return json.dumps(good.as_json(), sort_keys=True, separators=(",", ":")).encode()


def read_good_days(uri: str) -> GoodDays:
    """Read good days from a file, or from the folder of a model.

    Raises:
        SourceError: There are none, or the file is another.
    """
    folder = not uri.endswith(".json")
    path = join_uri(uri, GOOD_DAYS) if folder else uri
    try:
        values = json.loads(read_file(path))
        if values["kind"] != "good_days" or values["format"] != FORMAT:
            raise ValueError(f"of kind {values['kind']}, format {values['format']}")
        return _parse(values)
    except FileNotFoundError:
        raise SourceError(
            f"{path}: no such file", fix="fit with gates on, or save good days by `vrec check --save`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SourceError(
            f"{path}: no good days ({error})", fix="save them again by `vrec check --save`"
        ) from None


def find_good_days(folder: str) -> GoodDays | None:
    """Return the good days of the model in a folder, None where there are none."""
    return read_good_days(folder) if StorageFolder(folder).exists(GOOD_DAYS) else None


def _parse(values: Mapping[str, Any]) -> GoodDays:
    days: dict[int, DayCounts] = {}
    for day, held in values["days"].items():
        features = {}
        for name, sparse in held["features"].items():
            if name in FEATURES:
                features[name] = np.zeros(FEATURES[name].bins, np.int64)
                for place, count in sparse.items():
                    features[name][int(place)] = int(count)
        named = {
            column: {value: np.array(counts, np.int64) for value, counts in by_value.items()}
            for column, by_value in held["named"].items()
        }
        days[int(day)] = DayCounts(
            np.array(held["hours"], np.int64), features, named, float(held["top_video"])
        )
    return GoodDays(days, tuple(values["varied"]), values["catalog"])
