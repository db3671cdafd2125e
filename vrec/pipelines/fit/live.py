"""`vrec fit --model live`: the model of live streams, from events and streams to a folder."""

import logging
import time
from typing import Any

from vrec.config.settings import Settings
from vrec.core.errors import ConfigError
from vrec.core.tables import StorageFolder
from vrec.core.uris import absolute_uri
from vrec.events.streams import read_streams
from vrec.pipelines.inputs import InputPaths, consent_report, read_inputs
from vrec.retrieval.live.log import LiveLog
from vrec.retrieval.live.model import LiveRecommender

_log = logging.getLogger(__name__)


def fit_live(inputs: InputPaths, streams: str | None, out: str, settings: Settings) -> dict[str, Any]:
    """Fit the model of live streams in this process, write it to the folder `out` and return a summary.

    Args:
        inputs: Where the events are.
        streams: A STREAMS table.
        out: The folder.
        settings: `retrieval.live` are those of the model.

    Raises:
        ConfigError: There are no streams.
        EventsError, SchemaError, SourceError, FitError: the input cannot be used.
        OutputError: the folder cannot be written.
    """
    if streams is None:
        raise ConfigError("the model live needs the streams", fix="give --streams a STREAMS table")
    folder = StorageFolder(out)
    folder.check_writable()
    data = read_inputs(inputs, settings.events, settings.fit.modality)
    log = LiveLog.from_tables(data.events, read_streams(streams))
    _log.info("fitting live on %s views", f"{len(log.view_start):,}")
    begun = time.perf_counter()
    model = LiveRecommender(settings.retrieval.live).fit(log)
    fit_s = time.perf_counter() - begun
    model.report |= consent_report(data)
    model.save(absolute_uri(out))
    return {
        "model": model.kind,
        "out": absolute_uri(out),
        "events": data.events.num_rows,
        "duplicates": data.duplicates,
        "future": data.future_events,
        **consent_report(data),
        "users": len(log.users),
        "videos": len(log.streams),
        "interactions": len(log.view_start),
        "streamers": len(log.streamers),
        "fit_s": round(fit_s, 3),
        "chosen": model.report,
    }
