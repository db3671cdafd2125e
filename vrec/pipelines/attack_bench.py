"""`vrec robustness bench`: attacks on recommenders by fake shoppers, with and without defences."""

import logging
from collections.abc import Sequence
from typing import Any

from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder
from vrec.evaluation.shilling.bench import run_bench
from vrec.evaluation.shilling.measure import BENCH_MODELS
from vrec.evaluation.shilling.summary import summarize
from vrec.events.interactions import aggregate_interactions
from vrec.pipelines.inputs import InputPaths, read_inputs

_log = logging.getLogger(__name__)

RESULT = "attacks.json"
"""File with all that the bench found."""


def bench_attacks(
    inputs: InputPaths, settings: Settings, *, models: Sequence[str] = (), out: str | None = None
) -> dict[str, Any]:
    """Attack recommenders on a part of a log, and return what changed for honest shoppers.

    If the settings have no defence on, `drop_promoted` is the one that is compared.

    Args:
        inputs: Where the events are.
        settings: `robustness` has the bench and the defences.
        models: Recommenders to attack; all of the bench if empty.
        out: Folder for the result as JSON, if any.

    Raises:
        ConfigError: An attack or a model is none of the bench's.
        EvaluationError: The log is too small.
        EventsError, SchemaError, SourceError: The input cannot be used.
        OutputError: The folder cannot be written.
    """
    folder = None if out is None else StorageFolder(out)
    if folder is not None:
        folder.check_writable()
    data = read_inputs(inputs, settings.events, settings.fit.modality)
    interest = settings.events.interest
    robustness = settings.robustness
    defence = robustness.defence
    if not defence.drop_promoted and defence.clip_videos is None:
        defence = defence.model_copy(update={"drop_promoted": True})
        robustness = robustness.model_copy(update={"defence": defence})
    _log.info("attacking %s on %s", ", ".join(models or BENCH_MODELS), data.name)
    found = run_bench(
        aggregate_interactions(data.interactions, interest),
        models or BENCH_MODELS,
        settings.retrieval,
        robustness,
        interest,
    ).to_json()
    done = {
        "events": data.name,
        "bench": robustness.bench.model_dump(mode="json"),
        "defence": defence.model_dump(mode="json"),
        "summary": summarize(found["rows"]),
        **found,
    }
    if folder is not None:
        folder.write_json(RESULT, done)
        done["out"] = out
    return done
