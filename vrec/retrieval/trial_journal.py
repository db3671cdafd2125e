"""Finished trials of a fit on disk, from which an interrupted fit continues."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vrec.core.digest import digest
from vrec.core.errors import VrecError
from vrec.core.tables import StorageFolder
from vrec.core.uris import join_uri
from vrec.retrieval.base import MatrixRecommender
from vrec.retrieval.models.single_models import load_single_model

RECORD = "trial.json"
"""File with the figures of a trial, in the folder of its model."""


@dataclass(frozen=True)
class TrialRecord:
    """Finished trial."""

    fitted: MatrixRecommender
    settings: Mapping[str, Any]
    """All settings of the recommender."""
    score: float
    seconds: float
    fit_seconds: float
    """Seconds of the fit alone."""


class TrialJournal:
    """Folder with a subfolder for each finished trial: the fitted model, and a record that is written last.

    Args:
        uri: Folder; made when the first trial is finished.
        context: JSON values on which trials depend, such as digests of data and settings. Trials of another
            context are not found.
    """

    def __init__(self, uri: str, context: Mapping[str, Any]) -> None:
        self.uri, self.context = uri, context

    def find(self, trial: Mapping[str, Any]) -> TrialRecord | None:
        """Return the finished trial with some JSON values that identify it, None where there is none."""
        uri = self._uri(trial)
        try:
            record = json.loads(StorageFolder(uri).read(RECORD))
            fitted = load_single_model(uri)
            figures = record["score"], record["seconds"], record["fit_seconds"]
            return TrialRecord(fitted, record["settings"], *figures)
        except (OSError, ValueError, KeyError, TypeError, VrecError):
            # Not there, or not whole: the trial is run again.
            return None

    def write(self, trial: Mapping[str, Any], record: TrialRecord) -> None:
        """Write a finished trial.

        Raises:
            OutputError: The folder cannot be written.
        """
        uri = self._uri(trial)
        record.fitted.save(uri)
        figures = {
            "settings": dict(record.settings),
            "score": record.score,
            "seconds": record.seconds,
            "fit_seconds": record.fit_seconds,
        }
        StorageFolder(uri).write_json(RECORD, figures)

    def _uri(self, trial: Mapping[str, Any]) -> str:
        return join_uri(self.uri, digest({"context": self.context, "trial": trial}))
