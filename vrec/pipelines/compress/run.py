"""`vrec compress`: smaller networks for the frames, measured beside the one in use; the best is written."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vrec.compression.config import CompressConfig
from vrec.compression.export import require_onnx
from vrec.compression.network import RUNTIMES
from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder, absolute_uri
from vrec.encoders.cnn import CnnEncoder
from vrec.pipelines.compress.dataset import CompressionDataset, read_labels
from vrec.pipelines.compress.networks import CompressedNetworks, LogLine
from vrec.pipelines.compress.rows import CompressionRow, measure_networks
from vrec.pipelines.compress.target import compression_target
from vrec.pipelines.compress.trials import make_trials
from vrec.pipelines.compress.write import incompatible_fusion, write_compressed


def compress(videos: str, out: str, settings: Settings, *, log: LogLine | None = None) -> dict[str, Any]:
    """What was measured: `rows`, one a network with the original first, `failed`, and what was `chosen`.

    `videos` is a folder or a VIDEOS table. The chosen network is the fastest of those that lose no more than
    `settings.compress` allows; `out` gets it, with an embed.yaml for `vrec embed --config`. `chosen` is None,
    and nothing is written, where none is both faster than the original and good enough. Where a learned head
    is in use, the network beneath it is compressed, and judged by the head's vectors. `say` is told of
    progress. Raises SourceError, ConfigError, ModelError, OutputError, and CompressError where too few videos
    decode or no method works.
    """
    require_onnx()
    log = log or (lambda text: None)
    config, subject, out = settings.compress, compression_target(settings), absolute_uri(out)
    StorageFolder(out).check_writable()
    catalogue = CompressionDataset(videos, settings, subject.cnn.frame_px)
    labels = read_labels(config.labels, catalogue.ids) if config.labels else None
    log(f"{len(catalogue.ids):,} videos decoded, {len(catalogue.failed):,} left out")
    original = CnnEncoder(subject.cnn)
    networks = CompressedNetworks(subject.cnn, original.features, catalogue, config, log)
    with tempfile.TemporaryDirectory(prefix="vrec-compress-") as folder:
        trials, failed = make_trials(networks, folder)
    log(f"measuring {len(trials)} networks beside the original")
    rows = measure_networks(subject, original, trials, networks, labels)
    chosen = choose_network(rows, config)
    done: dict[str, Any] = {
        "videos": len(catalogue.ids),
        "left_out": catalogue.failed,
        "labelled": len(labels.rows) if labels else 0,
        "new_videos": networks.held_out_count,
        "original": original.name,
        "head": subject.stored.name if subject.stored else None,
        "rows": [row.to_dict() for row in rows],
        "failed": failed,
        "chosen": chosen.method if chosen else None,
        "out": out if chosen else None,
    }
    if chosen:
        trial = next(trial for method, trial in trials.items() if method == chosen.method)
        runtime = next(name for name in RUNTIMES if name == chosen.runtime)
        facts = replace(trial.facts, runtime=runtime)
        measured = {name: value for name, value in chosen.to_dict().items() if isinstance(value, float)}
        data = {"original": done["original"], "videos": done["videos"], "table": done["rows"]}
        done["config"] = write_compressed(
            out, trial.onnx, facts, subject, settings, data=data, metrics=measured
        )
        done["lost_fusion"] = incompatible_fusion(settings)
    return done


def choose_network(rows: Sequence[CompressionRow], config: CompressConfig) -> CompressionRow | None:
    """The fastest row that loses no more than allowed, None where none is; the first row is the original.

    With labels 1-NN accuracy over all labelled videos decides, else the neighbours of new videos.
    """
    first = rows[0].quality
    good = []
    for row in rows[1:]:
        if first.one_nn is not None and row.quality.one_nn is not None:
            fine = first.one_nn - row.quality.one_nn <= config.max_accuracy_loss + 1e-9
        else:
            fine = row.quality.recall_new >= config.min_recall
        if fine and row.speed > 1:
            good.append(row)
    return max(good, key=lambda row: row.speed, default=None)
