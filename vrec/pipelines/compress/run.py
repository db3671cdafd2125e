"""`vrec compress`: smaller networks for frames, measured against the one in use; the best is written.

`compress` reads in the order of its stages: decode → make → measure → choose → write.
"""

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from vrec.compression.config import CompressConfig
from vrec.compression.export import require_onnx
from vrec.compression.network import RUNTIMES
from vrec.config.settings import Settings
from vrec.core.tables import StorageFolder
from vrec.core.uris import absolute_uri
from vrec.encoders.cnn import CnnEncoder
from vrec.pipelines.compress.dataset import CompressionDataset, read_labels
from vrec.pipelines.compress.measure import CompressionRow, measure_networks
from vrec.pipelines.compress.networks import CompressedNetworks
from vrec.pipelines.compress.target import compression_target
from vrec.pipelines.compress.trials import make_trials
from vrec.pipelines.compress.write import incompatible_fusion, write_compressed

_log = logging.getLogger(__name__)


def compress(videos: str, out: str, settings: Settings) -> dict[str, Any]:
    """Compress the network of `embed.encoders.frames` and return what was measured.

    The chosen network is the fastest of those that lose no more than `settings.compress` allows; `out` gets
    it with an embed.yaml for `vrec embed --config`. Nothing is written where none is both faster than the
    original and good enough. Where a learned head is in use, the network beneath it is compressed, and
    measured by the head's vectors.

    Args:
        videos: a folder or a VIDEOS table.
        out: the folder to write to.
        settings: `compress` and `embed` apply.

    Returns:
        `rows`, one per network with the original first; `failed`, the errors by method; the `chosen` method
        or None; and counts of videos.

    Raises:
        SourceError, ConfigError, ModelError, OutputError: the job cannot run.
        CompressError: too few videos decode, or no method works.
    """
    require_onnx()
    config, target, out = settings.compress, compression_target(settings), absolute_uri(out)
    StorageFolder(out).check_writable()

    # Decode.
    dataset = CompressionDataset(videos, settings, target.cnn.frame_px)
    labels = read_labels(config.labels, dataset.ids) if config.labels else None
    _log.info("%d videos decoded, %d left out", len(dataset.ids), len(dataset.failed))

    # Make a network with each method.
    original = CnnEncoder(target.cnn)
    networks = CompressedNetworks(target.cnn, original.features, dataset, config)
    with tempfile.TemporaryDirectory(prefix="vrec-compress-") as folder:
        trials, failed = make_trials(networks, folder)

    # Measure.
    _log.info("measuring %d networks beside the original", len(trials))
    rows = measure_networks(target, original, trials, networks, labels)

    # Choose.
    chosen = choose_network(rows, config)
    result: dict[str, Any] = {
        "videos": len(dataset.ids),
        "left_out": dataset.failed,
        "labelled": len(labels.rows) if labels else 0,
        "new_videos": networks.held_out_count,
        "original": original.name,
        "head": target.artifact.name if target.artifact else None,
        "rows": [row.to_dict() for row in rows],
        "failed": failed,
        "chosen": chosen.method if chosen else None,
        "out": out if chosen else None,
    }

    # Write.
    if chosen:
        trial = next(trial for method, trial in trials.items() if method == chosen.method)
        runtime = next(name for name in RUNTIMES if name == chosen.runtime)
        info = replace(trial.info, runtime=runtime)
        metrics = {name: value for name, value in chosen.to_dict().items() if isinstance(value, float)}
        data = {"original": result["original"], "videos": result["videos"], "table": result["rows"]}
        result["config"] = write_compressed(
            out, trial.onnx, info, target, settings, data=data, metrics=metrics
        )
        result["lost_fusion"] = incompatible_fusion(settings)
    return result


def choose_network(rows: Sequence[CompressionRow], config: CompressConfig) -> CompressionRow | None:
    """Return the fastest network that loses no more than allowed, None where there is none.

    With labels the loss is of 1-NN accuracy over all labeled videos, without them of the neighbors of videos
    that the network did not learn from. A network must be faster than the original, the first row.
    """
    original = rows[0].quality
    acceptable = []
    for row in rows[1:]:
        if original.one_nn is not None and row.quality.one_nn is not None:
            good = original.one_nn - row.quality.one_nn <= config.max_accuracy_loss + 1e-9
        else:
            good = row.quality.recall_new >= config.min_recall
        if good and row.speed > 1:
            acceptable.append(row)
    return max(acceptable, key=lambda row: row.speed, default=None)
